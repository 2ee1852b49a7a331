//go:build !race

package rest

import "time"

// promptly is how long a health check may take beside hostile clients, on a
// machine that does other things as well.
const promptly = 5 * time.Second
