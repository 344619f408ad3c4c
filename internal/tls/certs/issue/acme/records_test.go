package acme

import (
	"context"
	"testing"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// slowZone is a DNS whose records take 20 s to remove, if ctx lets them.
type slowZone struct{ removed, left int }

func (z *slowZone) Present(context.Context, string, string) (Record, error) { return z, nil }

func (z *slowZone) Wait(context.Context) error { return nil }

func (z *slowZone) Remove(ctx context.Context) {
	select {
	case <-time.After(20 * time.Second):
		z.removed++
	case <-ctx.Done():
		z.left++
	}
}

// Each record has its own time to be removed in, unless the order was given up: the process waits for that.
func TestEnd_removesRecords(t *testing.T) {
	for _, givenUp := range []bool{false, true} {
		testutil.Bubble(t, func(t *testing.T) {
			z := &slowZone{}
			i, err := New(Options{Directory: "https://ca.test/dir", DNS: z})
			testutil.Must(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := i.at.begin([]string{acmez.ChallengeTypeDNS01})
			for _, token := range []string{"1", "2", "3", "4", "5"} {
				testutil.Must(t, c.Present(ctx, acmez.Challenge{Type: acmez.ChallengeTypeDNS01, Token: token}))
			}
			want, within := 5, 100*time.Second
			if givenUp {
				want, within = 1, removeMax
				cancel()
			}
			begun := time.Now()
			if c.end(ctx); z.removed != want || z.left != 5-want || time.Since(begun) != within {
				t.Errorf("given up %t: %d are removed, %d left after %v", givenUp, z.removed, z.left, time.Since(begun))
			}
		})
	}
}
