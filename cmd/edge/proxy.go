package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/internal/base/build"
	"github.com/edge-proxy/edge/internal/base/safeopen"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/process"
	"github.com/edge-proxy/edge/internal/server"
)

func newProxy() *cobra.Command {
	var o proxyOptions
	cmd := &cobra.Command{
		Use:   "proxy --from :8080 --to host:port[,host:port] [--tls internal|auto] [--save edge.toml]",
		Short: "Put a proxy in front of a service, without a configuration",
		Long: "Put a proxy in front of a service, without a configuration. Each request is a line on stdout, each " +
			"failure is explained on stderr.\n\n--tls internal makes an authority on this machine, for " +
			"development, and a certificate for this machine's names; a client that trusts its file, which is named " +
			"at the start, sees no warning.\n\n--tls auto orders a certificate from Let's Encrypt for the host that " +
			"--from names, and listens on the ports 80 and 443.\n\n--save writes the configuration of what runs, " +
			"with comments. " +
			"edge run -c FILE does the same.",
		Example: "  edge proxy --from :8080 --to localhost:3000\n  edge proxy --to 10.0.0.1:80,10.0.0.2:80\n" +
			"  edge proxy --from :8443 --to localhost:3000 --tls internal\n" +
			"  edge proxy --from www.example.org --to localhost:3000 --tls auto\n" +
			"  edge proxy --to https://example.org\n" +
			"  edge proxy --to localhost:3000 --save edge.toml",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	cmd.Flags().StringVar(&o.from, "from", ":8080", "`address` to listen on; with --tls auto the name of a host")
	cmd.Flags().StringVar(&o.to, "to", "",
		"`backends`: host:port, https://host:port or unix:/path, several with commas between")
	cmd.Flags().StringVar(&o.secure, "tls", tlsNone,
		"the certificate that clients see: `internal`, one of this machine's; auto, of Let's Encrypt; off, plain HTTP")
	cmd.Flags().StringVar(&o.save, "save", "", "write the configuration to this `file`, which must not be there yet")
	statsFlag(cmd.Flags(), &o.stats)
	return cmd
}

type proxyOptions struct {
	from, to, secure, save string
	stats                  bool
}

// proxyConfig is the configuration that the flags stand for. A person at a terminal does not wait long for the end.
const proxyConfig = `# Written by edge proxy --save: edge run -c FILE does the same.
# docs/configuration.md leads to all keys; edge check FILE says what is wrong with one.

[global]
grace_period = "5s"  # how long open requests may take when edge is asked to stop

[log]
format = "common"  # a line for each request on stdout; "json" and "combined" are the other formats

# Where clients connect.
%s

[upstream_defaults]
host = %q  # the Host that backends get: "keep" is the client's, "backend" their own name

# Every request goes to these backends. A route with the pattern "/api/*" beside this one would take a part of them.
[[routes]]
pattern = "/*"
dest    = %q
`

// Values of --tls.
const (
	tlsNone     = "off"
	tlsInternal = config.InternalCert
	tlsAuto     = "auto"
)

// autoConfig is the part of proxyConfig about clients with --tls auto.
const autoConfig = `[http]
listen = ":80"
redirect_to_https = true

[https]
listen = ":443"

# Let's Encrypt gives the certificate. With that you agree to its terms.
[acme]
hosts = [%q]`

// run serves until a signal comes.
func (o *proxyOptions) run(cmd *cobra.Command) error {
	if o.to == "" {
		return usage{cmd, errors.New("edge proxy needs --to host:port")}
	}
	listener := fmt.Sprintf("[http]\nlisten = %q", local4(o.from))
	switch o.secure {
	case tlsNone:
	case tlsInternal:
		listener = fmt.Sprintf("[https]\nlisten = %q\ncert   = %q", local4(o.from), config.InternalCert)
	case tlsAuto:
		if strings.ContainsAny(o.from, ":/") || isPort(o.from) {
			return usage{cmd, errors.New("--tls auto needs the name of a host, as in --from www.example.org: " +
				"--tls internal makes a certificate on this machine")}
		}
		listener = fmt.Sprintf(autoConfig, o.from)
	default:
		return usage{cmd, fmt.Errorf("--tls is %q, %q or %q, not %q", tlsAuto, tlsInternal, tlsNone, o.secure)}
	}
	backends := strings.Split(o.to, ",")
	for i, b := range backends {
		backends[i] = local(strings.TrimSpace(b))
	}
	text := fmt.Sprintf(proxyConfig, listener, hostFor(backends), strings.Join(backends, ","))
	cfg, report := config.Parse("the command line", []byte(text))
	if !report.OK() {
		return usage{cmd, fmt.Errorf("%s", aboutFlag(&report.Errors[0]))}
	}
	if o.save != "" {
		if err := safeopen.WriteNew(o.save, []byte(text)); err != nil {
			return err
		}
	}
	return serveNow(cfg, o.stats, strings.Join(backends, ", "))
}

// serveNow serves a configuration that is in no file, until a signal comes, and says where it leads to.
func serveNow(cfg *config.Config, stats bool, to string) error {
	err := process.Run(cfg, process.Options{
		Server: server.Options{Explain: true}, Version: build.Version(), Stats: stats,
		Started: func(s *server.Server) {
			url := ""
			for _, a := range s.Addresses() {
				url = urlOf(a)
				fmt.Fprintf(stderr, "edge: %s -> %s\n", url, to)
			}
			if path := s.AuthorityPath(); path != "" {
				fmt.Fprintf(stderr, trustText, path, path, url)
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
	if slices.ContainsFunc(backends, func(b string) bool { return !strings.HasPrefix(b, "https://") }) {
		return "keep"
	}
	return "backend"
}

// trustText says how to trust the internal authority.
const trustText = `edge: the certificate is of an authority on this machine: %s
      once:       curl --cacert %s %s
      everywhere: edge trust
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

// aboutFlag says what is wrong with a flag, by the line of proxyConfig, which a user has not seen then.
func aboutFlag(p *config.Problem) string {
	flag := "--to"
	if p.Line <= strings.Count(proxyConfig[:strings.Index(proxyConfig, "[upstream_defaults]")], "\n") {
		flag = "--from"
	}
	if p.Hint == "" {
		return flag + ": " + p.Message
	}
	// No flag stands for what a route has.
	return flag + ": " + p.Message + "; " + strings.Replace(p.Hint, " and rewrite",
		", and for the path --save FILE, whose route gets rewrite", 1)
}
