package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/internal/base/build"
)

// version is the version of edge: both are built of the same commit.
var version = build.Version()

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := newRoot().ExecuteContext(ctx)
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "edge-bench:", err)
		os.Exit(1)
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Short:         "Measure what a proxied request costs, or load a URL",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newProxy(), newOrigin(), newFloor(), newPeer(), newMicro(), newHitratio(), newBalance(),
		newBystander(), newScale(), newSelf(), newTrouble(), newRush(), newH2Origin(), newQUICGo(), newAwake())
	addURL(root)
	return root
}
