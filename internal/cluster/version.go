package cluster

// ProgramVersion is the version of Tamada itself. A build may set another:
// -ldflags "-X tamada/internal/cluster.ProgramVersion=0.1.1".
var ProgramVersion = "0.1.0"

// CompatVersion is the level of compatibility: the version of Patroni whose
// interfaces are offered.
const CompatVersion = "4.1.4"
