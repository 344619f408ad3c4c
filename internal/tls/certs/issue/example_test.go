package issue_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"time"

	"github.com/edge-proxy/edge/internal/tls/certs/issue"
)

// company is the authority of a company, in this process: an Issuer may as well ask one over the network.
type company struct {
	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (c *company) Key() string     { return "company" }
func (c *company) Account() string { return "" }

func (c *company) Issue(_ context.Context, o *issue.Order) (*issue.Issued, error) {
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		DNSNames:     o.CSR.DNSNames,
		NotBefore:    time.Now(), NotAfter: time.Now().Add(30 * 24 * time.Hour),
	}, c.root, o.CSR.PublicKey, c.key)
	if err != nil {
		return nil, err
	}
	return &issue.Issued{Chain: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, nil
}

func (c *company) Window(context.Context, *x509.Certificate) (issue.Window, error) {
	return issue.Window{}, nil // after two thirds of the life
}

// A server has a certificate of the authority of its company, which is kept in a folder and renewed in time.
func Example() {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	authority := &company{&x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}, key}

	dir, _ := os.MkdirTemp("", "certificates")
	defer os.RemoveAll(dir)
	folder, err := issue.NewFolder(dir, -1, -1)
	if err != nil {
		fmt.Println(err)
		return
	}
	ready := make(chan issue.Event, 1)
	renewer := issue.New(issue.Options{Tell: func(e issue.Event) { ready <- e }})
	defer renewer.Stop()
	set := renewer.Load(context.Background(), issue.Plan{
		Storage:     folder,
		Authorities: []issue.Authority{{Issuer: authority}},
		Subjects:    []issue.Subject{{"shop.example.org", "*.shop.example.org"}},
	})
	renewer.Use(set)

	if e := <-ready; e.Err != nil {
		fmt.Println(e.Err)
		return
	}
	fmt.Println(set.Find("www.shop.example.org").Leaf.DNSNames)
	// Output: [*.shop.example.org shop.example.org]
}
