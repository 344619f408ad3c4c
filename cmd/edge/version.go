package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/internal/build"
	"github.com/edge-proxy/edge/tlsconn"
)

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return printVersion(cmd.OutOrStdout(), asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}

func printVersion(w io.Writer, asJSON bool) error {
	buffers, text := "lent", "buffers for TLS records are lent"
	if !tlsconn.LendsBuffers() {
		buffers, text = "kept", "each TLS connection keeps its buffers: edge is not tested with this Go"
	}
	if asJSON {
		own, err := build.Own()
		if err != nil {
			return fmt.Errorf("read the program: %w", err)
		}
		return printJSON(w, map[string]string{
			"version": own.Version, "commit": own.Commit, "sha256": own.Sum,
			"go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
			"tls": tlsconn.ProviderName(), "tls_buffers": buffers,
		})
	}
	commit := ""
	if c := build.Commit(); c != "" {
		commit = "commit " + c + ", "
	}
	_, err := fmt.Fprintf(w, "edge %s (%s%s %s/%s, TLS by %s)\n%s\n",
		build.Version(), commit, runtime.Version(), runtime.GOOS, runtime.GOARCH, tlsconn.ProviderName(), text)
	return err
}
