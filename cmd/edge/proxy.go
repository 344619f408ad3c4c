package main

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/internal/build"
	"github.com/edge-proxy/edge/server"
	"github.com/edge-proxy/edge/server/process"
)

func newProxy() *cobra.Command {
	var from, to, secure string
	var stats bool
	cmd := &cobra.Command{
		Use:   "proxy --from :8080 --to host:port[,host:port] [--tls internal]",
		Short: "Put a proxy in front of a service, without a configuration",
		Long: "Put a proxy in front of a service, without a configuration. Each request is a line on stdout, each " +
			"failure is explained on stderr.\n\n--tls internal makes an authority on this machine, for " +
			"development, and a certificate for this machine's names; a client that trusts its file, which is named " +
			"at the start, sees no warning.",
		Example: "  edge proxy --from :8080 --to localhost:3000\n  edge proxy --to 10.0.0.1:80,10.0.0.2:80\n" +
			"  edge proxy --from :8443 --to localhost:3000 --tls internal\n  edge proxy --to https://example.org",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runProxy(cmd, from, to, secure, stats) },
	}
	cmd.Flags().StringVar(&from, "from", ":8080", "`address` to listen on")
	cmd.Flags().StringVar(&to, "to", "",
		"`backends`: host:port, https://host:port or unix:/path, several with commas between")
	cmd.Flags().StringVar(&secure, "tls", tlsNone,
		"the certificate that clients see: `internal`, one of this machine's; off, plain HTTP")
	statsFlag(cmd.Flags(), &stats)
	return cmd
}

// proxyConfig is the configuration that the flags stand for. A person at a terminal does not wait long for the end.
const proxyConfig = `grace_period = "5s"
log.format = "common"
%s
upstream_defaults.host = %q
[[routes]]
pattern = "/*"
dest = %q
`

// Values of --tls.
const (
	tlsNone     = "off"
	tlsInternal = config.InternalCert
	tlsAuto     = "auto" // refused: it needs ACME
)

func runProxy(cmd *cobra.Command, from, to, secure string, stats bool) error {
	if to == "" {
		return usage{cmd, errors.New("edge proxy needs --to host:port")}
	}
	listener := fmt.Sprintf("http.listen = %q", local4(from))
	switch secure {
	case tlsNone:
	case tlsInternal:
		listener = fmt.Sprintf("https = { listen = %q, cert = %q }", local4(from), config.InternalCert)
	case tlsAuto:
		return usage{cmd, errors.New("--tls auto is not supported by this version: it comes with ACME; " +
			"--tls internal makes a certificate on this machine")}
	default:
		return usage{cmd, fmt.Errorf("--tls is %q or %q, not %q", tlsInternal, tlsNone, secure)}
	}
	backends := strings.Split(to, ",")
	for i, b := range backends {
		backends[i] = local(strings.TrimSpace(b))
	}
	text := fmt.Sprintf(proxyConfig, listener, hostFor(backends), strings.Join(backends, ","))
	cfg, report := config.Parse("the command line", []byte(text))
	if !report.OK() {
		return usage{cmd, fmt.Errorf("%s", aboutFlag(&report.Errors[0]))}
	}
	err := process.Run(cfg, process.Options{
		Server: server.Options{Explain: true}, Version: build.Version(), Stats: stats,
		Started: func(s *server.Server) {
			url := ""
			for _, a := range s.Addresses() {
				url = urlOf(a)
				fmt.Fprintf(stderr, "edge: %s -> %s\n", url, strings.Join(backends, ", "))
			}
			if path := s.AuthorityPath(); path != "" {
				fmt.Fprintf(stderr, trustText, path, path, url, path)
			}
		},
	})
	var address *server.ListenError
	if errors.As(err, &address) {
		address.Pos = config.Pos{} // there is no file
	}
	return err
}

// hostFor returns the upstream's key host. A server on the Internet, which is reached by TLS, answers for its own
// names. A server on this machine or network gets the Host of the client, as if it were asked directly.
func hostFor(backends []string) string {
	for _, b := range backends {
		if !strings.HasPrefix(b, "https://") {
			return "keep"
		}
	}
	return "backend"
}

// trustText says how to trust the internal authority.
const trustText = `edge: the certificate is of an authority on this machine: %s
      once:       curl --cacert %s %s
      everywhere: sudo cp %s /usr/local/share/ca-certificates/edge.crt && sudo update-ca-certificates
`

// local completes the short forms of a backend on this machine, ":3000" and "3000".
func local(address string) string {
	if strings.HasPrefix(address, ":") {
		return "127.0.0.1" + address
	}
	if isPort(address) {
		return net.JoinHostPort("127.0.0.1", address)
	}
	return address
}

// local4 completes an address to listen on: "8080" is every address of this machine, "localhost:8080" is 127.0.0.1.
func local4(address string) string {
	if isPort(address) {
		return ":" + address
	}
	if port, ok := strings.CutPrefix(address, "localhost:"); ok {
		return "127.0.0.1:" + port
	}
	return address
}

func isPort(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// aboutFlag says what is wrong with a flag, by the line of proxyConfig: users never see that configuration.
func aboutFlag(p *config.Problem) string {
	flag := "--to"
	if p.Line == 3 {
		flag = "--from"
	}
	if p.Hint == "" {
		return flag + ": " + p.Message
	}
	return flag + ": " + p.Message + "; " + p.Hint
}
