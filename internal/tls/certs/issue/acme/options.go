package acme

import (
	"context"
	"crypto/x509"
	"log/slog"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/edge-proxy/edge/internal/tls/certs/issue"
)

// Known are authorities by a word for each. Google's staging authority has accounts of its own, and its own word.
var Known = []struct{ Word, Directory, Staging string }{
	{"letsencrypt", letsEncrypt, letsEncryptStaging},
	{"letsencrypt-staging", letsEncryptStaging, ""},
	{"zerossl", zeroSSL, ""},
	{"google", "https://dv.acme-v02.api.pki.goog/directory", ""},
	{"google-staging", "https://dv.acme-v02.test-api.pki.goog/directory", ""},
}

const (
	letsEncrypt        = "https://acme-v02.api.letsencrypt.org/directory"
	letsEncryptStaging = "https://acme-staging-v02.api.letsencrypt.org/directory"
	zeroSSL            = "https://acme.zerossl.com/v2/DV90"
	shortLived         = "shortlived" // the profile that authorities want for addresses
)

// The kinds of proofs for which authorities connect to a host.
const (
	HTTP01    = acme.ChallengeTypeHTTP01
	TLSALPN01 = acme.ChallengeTypeTLSALPN01
)

// Options are an account at an authority. A zero field takes its default.
type Options struct {
	Directory  string         // an https URL; default Let's Encrypt
	Email      string         // default: none
	EAB        EAB            // default: none, at ZeroSSL by the e-mail address
	Profile    string         // default: "shortlived" for addresses where it is offered, else the authority's choice
	Kinds      []string       // of proofs: "http-01", "tls-alpn-01", "dns-01"; default: this with DNS, else the others
	DNS        DNS            // for "dns-01", which wildcards have in any case; nil: there is none
	Settle     time.Duration  // until other processes answer for proofs in Storage, see Share; 0: this one does alone
	Roots      *x509.CertPool // that sign for the directory; default: the system's
	Logger     *slog.Logger   // default: none
	Storage    issue.Storage
	Challenges *issue.Challenges
}

// DNS presents TXT records for proofs by dns-01 (RFC 8555 §8.4). Safe for any goroutine.
type DNS interface {
	// Present adds a record with this text to the records of a name. After an error there is none with it.
	Present(ctx context.Context, name, text string) (Record, error)
}

// Record is one TXT record that is presented. Owned by the goroutine that has presented it.
type Record interface {
	Wait(ctx context.Context) error // until authorities find it
	Remove(ctx context.Context)     // once, and also after an error of Wait
}

// EAB binds an account to a customer that an authority knows already (RFC 8555 §7.3.4).
type EAB struct {
	ID  string
	MAC string // base64url
}
