package registry_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/discovery"
	"github.com/edge-proxy/edge/backend/registry"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

func init() { registry.Found = found }

// found returns what package discovery finds where a text says, as soon as it finds it.
func found(t *testing.T, text string) (all []string) {
	t.Helper()
	source, err := discovery.Open(text, discovery.Opening{})
	testutil.Must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), testutil.Patience)
	defer cancel()
	_ = source.Run(ctx, func(list []backend.Spec, err error) {
		if err != nil && ctx.Err() == nil {
			t.Errorf("%s: %v", text, err)
		}
		if ctx.Err() == nil {
			for _, b := range list {
				all = append(all, strings.TrimSpace(fmt.Sprint(b.Address, " ", b.Weight, " ", b.Zone)))
			}
		}
		cancel()
	})
	slices.Sort(all)
	return all
}
