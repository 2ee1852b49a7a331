package sim

import "testing"

// TestPromotionThatNobodySawIsNotForgotten: the former leader must neither go on
// with its old timeline nor be promoted to one of the same number.
func TestPromotionThatNobodySawIsNotForgotten(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		if r := Run(unseen(seed)); r.Violation != nil {
			t.Fatalf("%s\n%s", r.Violation.Text, r.Tail(60))
		}
	}
}
