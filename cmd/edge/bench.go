package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

// benchName is the binary that carries the benchmarks, with all that edge is compared with.
const benchName = "edge-bench"

// newBench makes the command that hands its arguments to edge-bench, flags and --help too: edge does not know them,
// since it imports none of the programs that it is measured beside.
func newBench() *cobra.Command {
	return &cobra.Command{
		Use:   "bench self | URL | micro | proxy | ...",
		Short: "Measure edge beside others, or load a URL: runs edge-bench, the binary beside this one",
		Long: "Measure edge beside others, or load a URL. All words go to edge-bench, the binary beside this one:\n" +
			"\"edge bench --help\" lists its commands.",
		Example: "  edge bench http://127.0.0.1:8080/ -c 100 -d 10s --rate 50k --report out.html\n" +
			"  edge bench self h1 --report out.html\n" +
			"  edge bench micro --run parse\n" +
			"  edge bench proxy --peers edge,nginx",
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("bench: %w", err)
			}
			return execBench(filepath.Join(filepath.Dir(self), benchName), args)
		},
	}
}

// execBench becomes the program at path, so that its output, signals and exit code are its own. It returns only when
// that failed.
func execBench(path string, args []string) error {
	err := syscall.Exec(path, append([]string{path}, args...), os.Environ())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("bench: there is no %s: it is a binary of its own, since it carries what edge is compared "+
			"with; the archive of a release has it beside edge, and make install in the source installs both", path)
	}
	return fmt.Errorf("bench: %s: %w", path, err)
}
