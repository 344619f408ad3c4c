package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/tlsconn"
)

// programVersion returns the version of the program: the linker's, else that of the module as "go install" knows it,
// else the commit that "go build" found.
func programVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknownVersion
	}
	return versionOf(info)
}

const (
	unknownVersion = "dev"
	revisionShown  = 12 // characters, as many as in the versions that Go makes of commits
)

// versionOf returns the version that the go command has noted in a binary.
func versionOf(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	set := make(map[string]string)
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	revision := set["vcs.revision"]
	if revision == "" {
		return unknownVersion
	}
	v := unknownVersion + "-" + revision[:min(len(revision), revisionShown)]
	if set["vcs.modified"] == "true" {
		v += "-dirty"
	}
	return v
}

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
		return printJSON(w, map[string]string{
			"version": programVersion(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
			"tls": tlsconn.ProviderName(), "tls_buffers": buffers,
		})
	}
	_, err := fmt.Fprintf(w, "edge %s (%s %s/%s, TLS by %s)\n%s\n",
		programVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH, tlsconn.ProviderName(), text)
	return err
}
