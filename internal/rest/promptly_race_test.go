//go:build race

package rest

import "time"

// promptly is far more with the race detector, which makes everything slow.
const promptly = 30 * time.Second
