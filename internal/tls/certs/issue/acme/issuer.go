package acme

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/edge-proxy/edge/internal/base/build"
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
)

// Issuer gets certificates from an authority. Safe for any goroutine.
type Issuer struct{ at authority }

// New makes an Issuer. It asks no server: an error comes from the options.
func New(o Options) (*Issuer, error) {
	o.Directory = cmp.Or(o.Directory, letsEncrypt)
	o.Email = strings.ToLower(strings.TrimSpace(o.Email))
	o.EAB.MAC = strings.TrimRight(o.EAB.MAC, "=")
	switch {
	case len(o.Kinds) > 0:
	case o.DNS != nil:
		o.Kinds = []string{acme.ChallengeTypeDNS01}
	default:
		o.Kinds = dialing
	}
	u, err := url.Parse(o.Directory)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is not the https URL of a directory", o.Directory)
	}
	if _, err := base64.RawURLEncoding.DecodeString(o.EAB.MAC); err != nil || (o.EAB.ID == "") != (o.EAB.MAC == "") {
		return nil, errors.New("an EAB is an id and a key in base64url")
	}
	web := http.DefaultTransport.(*http.Transport).Clone()
	web.TLSClientConfig = &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12}
	name := strings.Trim(strings.NewReplacer("/", "-", `\`, "-").Replace(u.Path), "-") // as certmagic has it
	i := &Issuer{authority{o: o, agent: "edge/" + build.Version(), web: web,
		key: issue.Safe(strings.TrimSuffix(u.Host+"-"+name, "-"))}}
	if o.Directory == zeroSSL && o.EAB.ID == "" {
		if i.at.bindings = "https://api.zerossl.com/acme/eab-credentials-email"; o.Email == "" {
			return nil, errors.New("ZeroSSL wants an e-mail address or an EAB")
		}
	}
	return i, nil
}

// Key returns the folder that certmagic has for this directory.
func (i *Issuer) Key() string { return i.at.key }

// Account returns the e-mail address and the id of the EAB.
func (i *Issuer) Account() string { return strings.TrimSpace(i.at.o.Email + " " + i.at.o.EAB.ID) }

// Issue gets a certificate, see issue.Issuer. Its Meta is certmagic's issuer_data.
func (i *Issuer) Issue(ctx context.Context, o *issue.Order) (*issue.Issued, error) {
	kinds, err := i.at.kindsFor(o)
	if err != nil {
		return nil, err
	}
	c := i.at.begin(kinds)
	defer c.end(ctx)
	got, err := c.obtain(ctx, o)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	meta, err := json.Marshal(got)
	return &issue.Issued{Chain: got.ChainPEM, Meta: meta}, err
}

// dialing are the proofs for which authorities connect to the host.
var dialing = []string{HTTP01, TLSALPN01}

// kindsFor returns the kinds of proofs for an order. dns-01 is for names alone (RFC 8738 §7), and for wildcards is
// nothing else.
func (a *authority) kindsFor(o *issue.Order) ([]string, error) {
	kinds, records := a.o.Kinds, []string{acme.ChallengeTypeDNS01}
	if len(o.CSR.IPAddresses) > 0 && slices.Equal(kinds, records) {
		return slices.Concat(dialing, records), nil
	}
	i := slices.IndexFunc(o.Names, func(name string) bool { return strings.HasPrefix(name, "*.") })
	switch {
	case i < 0 || slices.Contains(kinds, records[0]):
		return kinds, nil
	case a.o.DNS == nil:
		return nil, fmt.Errorf("%s: authorities give wildcards for dns-01 alone", o.Names[i])
	}
	return slices.Concat(kinds, records), nil
}

// Window asks for the window of a certificate (RFC 9773), see issue.Issuer.
func (i *Issuer) Window(ctx context.Context, leaf *x509.Certificate) (issue.Window, error) {
	c := i.at.begin(nil)
	defer c.end(ctx)
	d, err := c.directory(ctx)
	if err != nil || d.RenewalInfo == "" {
		return issue.Window{}, c.explain(ctx, err)
	}
	info, err := c.client.GetRenewalInfo(ctx, leaf)
	if err != nil {
		return issue.Window{}, c.explain(ctx, err)
	}
	w := issue.Window{Start: info.SuggestedWindow.Start, End: info.SuggestedWindow.End}
	if info.RetryAfter != nil {
		w.Again = *info.RetryAfter
	}
	return w, nil
}

// obtain orders a certificate. It orders again after a problem with the account, or with the replaced certificate.
func (c *call) obtain(ctx context.Context, o *issue.Order) (*acme.Certificate, error) {
	d, err := c.directory(ctx)
	if err != nil {
		return nil, err
	}
	p, err := acmez.OrderParametersFromCSR(acme.Account{}, o.CSR)
	if err != nil {
		return nil, err
	}
	if p.Account, err = c.account(ctx, ""); err != nil {
		return nil, err
	}
	p.Replaces, p.Profile = o.Replaces, c.o.Profile
	if d.Meta != nil && p.Profile == "" && len(o.CSR.IPAddresses) > 0 {
		if _, offered := d.Meta.Profiles[shortLived]; offered {
			p.Profile = shortLived
		}
	}
	for first := true; ; {
		chains, err := c.client.ObtainCertificate(ctx, p)
		if err == nil {
			return &chains[0], nil
		}
		switch problem := problemOf(err); {
		case problem == nil || problem.Resource != nil || c.early(problem) > 0:
			return nil, err
		case first && c.isGone(ctx, problem, p.Account):
			first = false
			if p.Account, err = c.account(ctx, thumbprint(&p.Account)); err != nil {
				return nil, err
			}
		case p.Replaces != nil && strings.HasPrefix(err.Error(), "creating new order"):
			p.Replaces = nil // it may be of another account, or unknown: RFC 9773 §5
		default:
			return nil, err
		}
	}
}
