package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edge-proxy/edge/backend/discovery/dns"
	"github.com/edge-proxy/edge/certs"
	"github.com/edge-proxy/edge/certs/issue"
	"github.com/edge-proxy/edge/certs/issue/acme"
	"github.com/edge-proxy/edge/config"
	wanted "github.com/edge-proxy/edge/config/acme"
	"github.com/edge-proxy/edge/plugin"
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

// Rehearse finds out whether the certificates that c orders would be had, without a server of c. This process answers
// for proofs at the ports that are meant for them, looks for some at each address of the names as an authority does,
// and orders one certificate for all names, which is thrown away, at directory; "": at the first staging authority of
// those that c names. No other authority is asked. It returns nil where c orders none.
func Rehearse(ctx context.Context, c *config.Config, directory string) *Rehearsal {
	of := wanted.Of(c)
	if of == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, rehearsalMax)
	defer cancel()
	r := &rehearsal{config: c, of: of, open: make(map[string]bool), strangers: directory == ""}
	for _, names := range wanted.Subjects(c) {
		for _, name := range names {
			if !slices.Contains(r.Names, name) {
				r.Names = append(r.Names, name)
			}
		}
	}
	r.Left = max(0, len(r.Names)-rehearsedMost)
	r.Names = r.Names[:len(r.Names)-r.Left]
	if len(r.Names) == 0 {
		return &r.Rehearsal
	}
	defer r.close()
	if r.answer(); len(r.open) > 0 {
		r.reach(ctx)
	}
	r.order(ctx, directory)
	return &r.Rehearsal
}

// rehearsal is a Rehearsal on its way.
type rehearsal struct {
	Rehearsal
	config     *config.Config
	of         *wanted.ACME
	strangers  bool // an authority of the Internet asks
	challenges issue.Challenges
	servers    []*http.Server
	serving    sync.WaitGroup
	doubting   sync.Mutex
	open       map[string]bool // kinds of proofs that are answered for
}

func (r *rehearsal) doubt(format string, args ...any) {
	r.doubting.Lock()
	defer r.doubting.Unlock()
	r.Doubts = append(r.Doubts, fmt.Sprintf(format, args...))
}

// answer answers for proofs at the ports that the configuration has for them.
func (r *rehearsal) answer() {
	plain, secured := r.of.Addresses(r.config)
	for kind, list := range map[string][]config.Address{acme.HTTP01: plain, acme.TLSALPN01: secured} {
		if r.of.ByDNS() || r.of.Challenge != "auto" && r.of.Challenge != kind {
			continue
		}
		for i := range list {
			r.listen(kind, &list[i])
		}
	}
}

func (r *rehearsal) listen(kind string, at *config.Address) {
	l, err := net.Listen(at.Network, net.JoinHostPort(at.Host, strconv.Itoa(at.Port)))
	if err != nil {
		r.doubt("a proof by %s cannot be answered here: %v", kind, err)
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
	if kind == acme.TLSALPN01 {
		l = tls.NewListener(l, proofsOf(&r.challenges))
	}
	r.open[kind], r.servers = true, append(r.servers, s)
	r.serving.Go(func() { _ = s.Serve(l) }) // it ends with close
}

func (r *rehearsal) close() {
	for _, s := range r.servers {
		_ = s.Close()
	}
	r.serving.Wait()
}

// reach looks for proofs at all addresses of the names.
func (r *rehearsal) reach(ctx context.Context) {
	client := dns.New(dns.Options{Servers: r.of.Resolver, Hosts: os.DevNull}) // others do not see /etc/hosts
	var all sync.WaitGroup
	for _, name := range r.Names {
		if name[0] != '*' {
			all.Go(func() { r.reachName(ctx, client, name) })
		}
	}
	all.Wait()
	slices.Sort(r.Doubts)
}

func (r *rehearsal) reachName(ctx context.Context, client *dns.Client, name string) {
	host := name
	if ip, err := netip.ParseAddr(name); err != nil {
		host += "." // no search list
	} else {
		host = ip.String()
	}
	found, err := client.Addresses(ctx, host, nil)
	switch {
	case err != nil:
		r.doubt("%s has no address: %v", name, err)
	case len(found.Addrs) == 0:
		r.doubt("%s has no address", name)
	}
	for _, ip := range found.Addrs {
		if r.strangers && !r.of.May(ip.String()) {
			r.doubt("%s leads to %s, which the Internet does not reach", name, ip)
			continue
		}
		for kind, port := range map[string]uint16{acme.HTTP01: 80, acme.TLSALPN01: 443} {
			at := netip.AddrPortFrom(ip, port)
			if !r.open[kind] {
				continue
			}
			if err := acme.Reach(ctx, &r.challenges, kind, name, at); err != nil {
				r.doubt("%s does not lead here at %s: %v", name, at, err)
			}
		}
	}
}

// order orders the certificate.
func (r *rehearsal) order(ctx context.Context, directory string) {
	kinds := kindsOf(r.of)
	if !r.of.ByDNS() {
		kinds = slices.Sorted(maps.Keys(r.open))
	}
	var i *acme.Issuer
	var csr *x509.CertificateRequest
	if i, r.Err = r.issuer(directory, kinds); r.Err == nil {
		csr, _, r.Err = issue.Request(issue.KeyKind(r.of.KeyType), r.Names)
	}
	if r.Err == nil {
		_, r.Err = i.Issue(ctx, &issue.Order{Names: r.Names, CSR: csr})
	}
}

// issuer makes the Issuer of a directory; "": of the first staging authority.
func (r *rehearsal) issuer(directory string, kinds []string) (i *acme.Issuer, err error) {
	o := acme.Options{Directory: directory, Email: r.of.Email, EAB: customerOf(r.of, directory), Profile: r.of.Profile,
		Kinds: kinds, Storage: forgetful{}, Challenges: &r.challenges}
	for _, ca := range r.of.CA {
		own, staging := wanted.Directory(ca)
		if strings.HasSuffix(ca, "-staging") {
			staging = own
		}
		if o.Directory == "" && staging != "" {
			o.Directory, o.EAB = staging, customerOf(r.of, ca)
		}
	}
	switch {
	case !r.of.ByDNS() && len(kinds) == 0:
		return nil, errors.New("no proof can be answered here")
	case o.Directory == "":
		return nil, errors.New("no authority of ca has a staging authority")
	case directory != "" && r.of.CAFile != "":
		o.Roots, err = certs.Authorities(r.of.CAFile)
	}
	if err == nil {
		o.DNS, err = makeZones(r.of, func() (plugin.DNSProvider, error) {
			d := r.config.Find(plugin.DNSProviders, r.of.DNS)
			return makeDefined[plugin.DNSProvider](d, &plugin.Build{Kind: d.Kind, Name: d.Name, Type: d.Type})
		})
	}
	if err != nil {
		return nil, err
	}
	r.Directory = o.Directory
	return acme.New(o)
}

// forgetful is a Storage that fails, so that what an Issuer makes is for this process alone.
type forgetful struct{ issue.Storage }

func (forgetful) Load(context.Context, string) ([]byte, error) { return nil, errors.ErrUnsupported }
func (forgetful) Store(context.Context, string, []byte) error  { return errors.ErrUnsupported }
func (forgetful) Delete(context.Context, string) error         { return errors.ErrUnsupported }
