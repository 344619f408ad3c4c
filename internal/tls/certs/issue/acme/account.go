package acme

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/edge-proxy/edge/internal/tls/certs"
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
)

const storageMax = time.Minute // a Storage that hangs for longer has failed

// storageKey returns the key of certmagic for a file of the account.
func (a *authority) storageKey(extension string) string {
	email := cmp.Or(a.o.Email, "default")
	before, after, _ := strings.Cut(email, "@")
	return path.Join("acme", a.key, "users", issue.Safe(email), issue.Safe(cmp.Or(before, after))+extension)
}

// account returns the account, and makes it where there is none, or where its thumbprint is gone. While the Storage
// fails, it is the account of the last call, or is made for this process alone.
func (c *call) account(ctx context.Context, gone string) (acme.Account, error) {
	storing, cancel := context.WithTimeout(ctx, storageMax)
	defer cancel()
	a, err := c.stored(storing)
	if err == nil && c.serves(&a, gone) {
		c.used.Store(&a)
		return a, nil
	}
	lock, storage := strings.TrimSuffix("register_acme_account_"+c.o.Email, "_"), c.o.Storage // as certmagic has it
	if err == nil {
		err = storage.Lock(storing, lock)
	}
	if err == nil {
		defer func() {
			unlocking, cancel := context.WithTimeout(context.WithoutCancel(ctx), storageMax)
			defer cancel()
			_ = storage.Unlock(unlocking, lock) // the account is made
		}()
		a, err = c.stored(storing)
	}
	if ctx.Err() != nil {
		return a, ctx.Err()
	}
	if used := c.used.Load(); err != nil && used != nil {
		a = *used
	}
	if !c.serves(&a, gone) {
		a, err = c.register(ctx, &a)
		if err != nil {
			return a, err
		}
	}
	c.used.Store(&a)
	return a, nil
}

// stored returns the account of the Storage, or a key that is not registered yet, or neither.
func (c *call) stored(ctx context.Context) (a acme.Account, err error) {
	text, err := c.o.Storage.Load(ctx, c.storageKey(".key"))
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return a, err
	}
	key, err := certs.ParseKey(text)
	if err != nil {
		return a, nil // it is cut off, too
	}
	text, err = c.o.Storage.Load(ctx, c.storageKey(".json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return a, err
	}
	if err != nil || json.Unmarshal(text, &a) != nil {
		a = acme.Account{} // the file is cut off: the authority finds the account by its key
	}
	a.PrivateKey = key
	return a, nil
}

// serves reports whether an account is whole, has another thumbprint than gone, and belongs to the EAB of the options.
func (c *call) serves(a *acme.Account, gone string) bool {
	if a.PrivateKey == nil || a.Status != acme.StatusValid || a.Location == "" {
		return false
	}
	var eab struct{ Protected string }
	var head struct{ KID string }
	json.Unmarshal(a.ExternalAccountBinding, &eab) //nolint:errcheck // most accounts have none
	text, _ := base64.RawURLEncoding.DecodeString(eab.Protected)
	json.Unmarshal(text, &head) //nolint:errcheck // likewise
	return thumbprint(a) != gone && (c.o.EAB.ID == "" || head.KID == "" || head.KID == c.o.EAB.ID)
}

// thumbprint names the key of an account; "": ACME has no keys of its type.
func thumbprint(a *acme.Account) string {
	text, _ := a.Thumbprint()
	return text
}

// register makes an account. Its key is stored first: if the process ends, the next process gets the same account.
func (c *call) register(ctx context.Context, old *acme.Account) (acme.Account, error) {
	storage, a := c.o.Storage, acme.Account{TermsOfServiceAgreed: true, PrivateKey: old.PrivateKey}
	storing, cancel := context.WithTimeout(ctx, storageMax)
	defer cancel()
	if old.PrivateKey == nil || old.Status != "" {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return a, err
		}
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			return a, err
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
		if storage.Delete(storing, c.storageKey(".json")) == nil { // whether it is stored or not: see account
			_ = storage.Store(storing, c.storageKey(".key"), text)
		}
		a.PrivateKey = key
	}
	if c.o.Email != "" {
		a.Contact = []string{"mailto:" + c.o.Email}
	}
	eab, err := c.binding(ctx)
	if err == nil && eab.KeyID != "" {
		err = a.SetExternalAccountBinding(ctx, c.client.Client, eab)
	}
	if err == nil {
		a, err = c.client.NewAccount(ctx, a)
	}
	if err != nil {
		return a, err
	}
	text, err := json.MarshalIndent(a, "", "\t")
	if err == nil {
		_ = storage.Store(storing, c.storageKey(".json"), text)
	}
	return a, err
}

// isGone reports whether a problem means that an authority has the account no more, or has closed it.
func (c *call) isGone(ctx context.Context, p *acme.Problem, a acme.Account) bool {
	if p.Type != acme.ProblemTypeUnauthorized {
		return p.Type == acme.ProblemTypeAccountDoesNotExist
	}
	is, err := c.client.GetAccount(ctx, a) // the problem may be about something else
	return problemOf(err) != nil || err == nil && is.Status != acme.StatusValid
}

// binding returns the EAB of the options, or asks ZeroSSL for the EAB of the e-mail address.
func (c *call) binding(ctx context.Context) (acme.EAB, error) {
	if c.bindings == "" {
		return acme.EAB{KeyID: c.o.EAB.ID, MACKey: c.o.EAB.MAC}, nil
	}
	var told struct {
		KID  string `json:"eab_kid"`
		Key  string `json:"eab_hmac_key"`
		Fail struct {
			Type string `json:"type"`
		} `json:"error"`
	}
	form := strings.NewReader(url.Values{"email": {c.o.Email}}.Encode())
	text, err := c.ask(ctx, http.MethodPost, c.bindings, form)
	if err == nil {
		err = json.Unmarshal(text, &told)
	}
	if err == nil && (told.KID == "" || told.Key == "") {
		err = errors.New("no EAB for this e-mail address: " + told.Fail.Type)
	}
	if err != nil {
		return acme.EAB{}, fmt.Errorf("%s: %w", c.bindings, err)
	}
	return acme.EAB{KeyID: told.KID, MACKey: strings.TrimRight(told.Key, "=")}, nil
}
