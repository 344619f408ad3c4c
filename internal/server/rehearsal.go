package server

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	wanted "github.com/edge-proxy/edge/internal/config/acme"
	"github.com/edge-proxy/edge/internal/l4/proxyproto"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/tls/certs"
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
	"github.com/edge-proxy/edge/internal/tls/certs/issue/acme"
)

const (
	rehearsedMost = 25 // names: authorities have profiles that take no more in one certificate
	rehearsalMax  = 10 * time.Minute
	proofRequest  = 5 * time.Second
)

// Rehearsal is what came of a try to get certificates, see Rehearse.
type Rehearsal struct {
	Names     []string // that were tried; none: they are known when handshakes ask for them
	Left      int      // names that were not, beyond those
	Doubts    []string // what may keep authorities from finding proofs
	Directory string   // of the authority that was asked
	Err       error    // why it has issued no certificate for Names
}

// Rehearse finds out whether the certificates that c orders would be issued, without a server of c. This process
// answers for proofs at the ports that are meant for them, looks for some at each address of the names as an authority
// does, and orders one certificate for all names, which is thrown away, at directory; "": at the first staging
// authority that c names. No other authority is asked. It returns nil where c orders none.
func Rehearse(ctx context.Context, c *config.Config, directory string) *Rehearsal {
	of := wanted.Of(c)
	if of == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, rehearsalMax)
	defer cancel()
	r := &rehearsal{config: c, of: of}
	subjects := wanted.Subjects(c)
	all := slices.Concat(subjects...)
	for _, names := range subjects {
		for _, name := range names {
			star := config.Star(name) // Let's Encrypt takes no order of both
			switch apart := star != name && slices.Contains(all, star) && !slices.Contains(names, star); {
			case slices.Contains(r.Names, name):
			case apart || len(r.Names) == rehearsedMost:
				r.Left++
			default:
				r.Names = append(r.Names, name)
			}
		}
	}
	if len(r.Names) == 0 {
		return &r.Rehearsal
	}
	defer r.close()
	r.answer()
	r.Doubts = append(r.Doubts, newLookout(of, &r.challenges, r.kinds).strays(ctx, r.Names)...)
	r.order(ctx, directory)
	return &r.Rehearsal
}

// rehearsal is a Rehearsal on its way. Owned by one goroutine, but for challenges.
type rehearsal struct {
	Rehearsal
	config     *config.Config
	of         *wanted.ACME
	challenges issue.Challenges
	servers    []*http.Server
	serving    sync.WaitGroup
	kinds      []string // of proofs that are answered for
}

// answer answers for proofs at the ports that the configuration has for them.
func (r *rehearsal) answer() {
	for kind, list := range placesOf(r.of, r.config) {
		slices.SortStableFunc(list, func(a, b config.Address) int { return cmp.Compare(span(&a), span(&b)) })
		for i := range list {
			r.listen(kind, &list[i])
		}
	}
}

// span returns 0 for all addresses of this machine, else 1: a listener for all opens first, and serves the others too.
func span(a *config.Address) int {
	if ip, err := netip.ParseAddr(a.Host); a.Host == "" || err == nil && ip.IsUnspecified() {
		return 0
	}
	return 1
}

func (r *rehearsal) listen(kind string, at *config.Address) {
	l, err := net.Listen(at.Network, net.JoinHostPort(at.Host, strconv.Itoa(at.Port)))
	if errors.Is(err, syscall.EADDRINUSE) && span(at) > 0 && slices.Contains(r.kinds, kind) {
		return
	}
	if err != nil {
		r.Doubts = append(r.Doubts, fmt.Sprintf("a proof by %s cannot be answered here: %v", kind, err))
		return
	}
	s := &http.Server{ReadHeaderTimeout: proofRequest, ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			body, found := r.challenges.Answer([]byte(q.URL.Path))
			if !found {
				w.WriteHeader(http.StatusNotFound)
			}
			_, _ = io.WriteString(w, body) // the client may have left
		})}
	l = headed{l}
	if kind == acme.TLSALPN01 {
		l = tls.NewListener(l, proofsOf(&r.challenges))
	}
	r.servers = append(r.servers, s)
	if !slices.Contains(r.kinds, kind) {
		r.kinds = append(r.kinds, kind)
	}
	r.serving.Go(func() { _ = s.Serve(l) }) // it ends with close
}

// headed is a Listener whose connections may begin with a header of the PROXY protocol, which is skipped.
type headed struct{ net.Listener }

func (l headed) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &headedConn{Conn: c, in: bufio.NewReaderSize(c, proxyproto.Max)}, nil
}

type headedConn struct {
	net.Conn
	in      *bufio.Reader
	skipped bool
}

func (c *headedConn) Read(b []byte) (int, error) {
	for !c.skipped {
		_, err := c.in.Peek(c.in.Buffered() + 1)
		text, _ := c.in.Peek(c.in.Buffered()) // it is there
		_, n, none := proxyproto.Parse(text)
		c.skipped = n > 0 || none != nil || err != nil
		_, _ = c.in.Discard(n)
	}
	return c.in.Read(b)
}

func (r *rehearsal) close() {
	for _, s := range r.servers {
		_ = s.Close()
	}
	r.serving.Wait()
}

// order orders the certificate.
func (r *rehearsal) order(ctx context.Context, directory string) {
	var i *acme.Issuer
	var csr *x509.CertificateRequest
	if i, r.Err = r.issuer(directory); r.Err == nil {
		csr, _, r.Err = issue.Request(issue.KeyKind(r.of.KeyType), r.Names)
	}
	if r.Err == nil {
		_, r.Err = i.Issue(ctx, &issue.Order{Names: r.Names, CSR: csr})
	}
}

// issuer makes the Issuer of a directory; "": of the first staging authority.
func (r *rehearsal) issuer(directory string) (*acme.Issuer, error) {
	ca, given := directory, directory != ""
	if !given {
		ca, directory = r.of.Staging()
	}
	switch {
	case !r.of.ByDNS() && len(r.kinds) == 0:
		return nil, errors.New("no proof can be answered here")
	case directory == "":
		return nil, errors.New("no authority of ca has a staging authority: name one by --acme=URL")
	}
	o, err := accountOf(r.of, func() (plugin.DNSProvider, error) {
		d := r.config.Find(plugin.DNSProviders, r.of.DNS)
		return makeDefined[plugin.DNSProvider](d, &plugin.Build{Kind: d.Kind, Name: d.Name, Type: d.Type})
	})
	if err == nil && given && r.of.CAFile != "" {
		o.Roots, err = certs.Authorities(r.of.CAFile)
	}
	if err != nil {
		return nil, err
	}
	o.Directory, o.EAB, o.Storage, o.Challenges = directory, customerOf(r.of, ca), forgetful{}, &r.challenges
	if !r.of.ByDNS() {
		o.Kinds = r.kinds
	}
	r.Directory = directory
	return acme.New(o)
}

// forgetful is a Storage that fails, so that what an Issuer makes is for this process alone.
type forgetful struct{ issue.Storage }

func (forgetful) Load(context.Context, string) ([]byte, error) { return nil, errors.ErrUnsupported }
func (forgetful) Store(context.Context, string, []byte) error  { return errors.ErrUnsupported }
func (forgetful) Delete(context.Context, string) error         { return errors.ErrUnsupported }
