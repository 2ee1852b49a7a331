package cluster

// Versions that members publish and commands show.
const (
	// ProgramVersion is the version of Tamada itself.
	ProgramVersion = "0.1.0"
	// CompatVersion is the level of compatibility: the version of Patroni whose
	// interfaces are offered.
	CompatVersion = "4.1.4"
)
