package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

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
		RunE:               func(_ *cobra.Command, args []string) error { return become("edge-bench", args) },
	}
}

// newImport makes the command that hands its arguments to edge-import, as newBench does.
func newImport() *cobra.Command {
	programs := []string{"caddy", "haproxy", "nginx", "pingora", "traefik"}
	return &cobra.Command{
		Use:   "import caddy|haproxy|nginx|pingora|traefik FILE... [-o edge.toml] [--state DIR] [--json]",
		Short: "Turn the configuration of another program into one of edge: runs edge-import",
		Long: "Turn the configuration of another program into one of edge, which is printed or written to a file. " +
			"All words go to edge-import, the binary beside this one:\n\"edge import --help\" lists its flags.\n\n" +
			"Exit codes: 0 all is carried, 1 the file cannot be read, 2 something is not carried.",
		Example: "  edge import nginx /etc/nginx/nginx.conf -o edge.toml\n" +
			"  edge import caddy /etc/caddy/Caddyfile -o edge.toml\n" +
			"  edge import traefik traefik.yml dynamic.yml --state /var/lib/edge/acme -o edge.toml",
		DisableFlagParsing: true,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return programs, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(_ *cobra.Command, args []string) error { return become("edge-import", args) },
	}
}

// become runs another program in place of this one, so that its output, signals and exit code are its own: the one
// beside this program, or the program in PATH. It returns only when that failed.
func become(name string, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	path := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(path); err != nil {
		if path, err = exec.LookPath(name); err != nil {
			return fmt.Errorf("there is no %s beside %s or in PATH: archives and packages of a release have it, "+
				"and make install in the source", name, self)
		}
	}
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, append([]string{path}, args...), os.Environ()))
}
