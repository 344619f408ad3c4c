package upstream

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/session"
)

// Options describe an upstream. They are comparable: see Key.
type Options struct {
	Name         string
	Backends     *backend.Set  // which may change while the upstream runs; nil: none
	Idle         int           // idle connections kept, over all reactors; 0: 4096; below 0: none
	IdleTimeout  time.Duration // how long one is kept; 0: 60 s
	Lifetime     time.Duration // how old a connection may be to be kept; 0: no limit
	Requests     int           // after how many requests it is not kept; 0: no limit
	PerBackend   int           // connections open to one backend, over all reactors; 0: no limit
	Queue        int           // exchanges that wait because of PerBackend; 0: 500; below 0: none
	QueueTimeout time.Duration // how long one waits; 0: 1 s
	Connect      time.Duration // to connect; 0: 5 s
	Client       session.ClientOptions
	Retries      int // further attempts of an exchange; 0: 2; below 0: none
	RetryBuffer  int // bytes of a request's body that are kept for another attempt; 0: 64 KiB; below 0: none

	UserTimeout time.Duration // see poller.ConnectOptions
	FastOpen    bool          // see poller.ConnectOptions

	Protocol   Protocol
	Streams    int // exchanges at one time on one HTTP/2 connection, beside what the origin allows; 0: 100
	TLS        TLS
	Handshaker *tlsconn.Handshaker // for TLS; nil: one of its own
}

// Defaults of Options.
const (
	idleDefault         = 4096
	idleTimeoutDefault  = time.Minute
	queueDefault        = 500
	queueTimeoutDefault = time.Second
	retriesDefault      = 2
	retryBufferDefault  = 64 << 10
)

// Key identifies an upstream by its options: two of equal Key are interchangeable, and a reload keeps the upstream that
// runs. It holds digests of certificates and keys, not their text.
type Key struct {
	options Options // without the texts of TLS
	tls     [sha256.Size]byte
}

// Key returns the identity of an upstream with options o.
func (o *Options) Key() Key {
	k := Key{options: *o}
	t := &k.options.TLS
	var all []byte
	for _, text := range []*string{&t.CA, &t.Certificate, &t.Key} {
		all = binary.BigEndian.AppendUint64(all, uint64(len(*text)))
		all = append(all, *text...)
		*text = ""
	}
	k.tls = sha256.Sum256(all)
	return k
}

// orDefault resolves what Options say: zero is the default, below zero is none.
func orDefault(n, d int) int {
	if n == 0 {
		return d
	}
	return max(n, 0)
}
