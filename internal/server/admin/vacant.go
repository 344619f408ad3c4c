package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lookTime is how long a process that may have an address is waited for.
const lookTime = time.Second

// errTaken says that another process serves at an address.
var errTaken = errors.New("another process serves there: edge status says which; a second one needs an address of " +
	"its own in [admin] listen, or false")

// vacant returns an error when a process serves at an address. A process that drains does not count: the next process
// takes its place. No process that answers there is shown a token.
func vacant(network, address, scheme string) error {
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, network, address)
	switch {
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, fs.ErrNotExist), network == "tcp" && err != nil:
		return nil
	case errors.Is(err, unix.EAGAIN), os.IsTimeout(err): // its queue is full
		return errTaken
	case err != nil:
		return err
	}
	one := &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return c, nil },
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // whatever answers there has the address
		DisableKeepAlives: true,
	}
	defer c.Close() //nolint:errcheck // nothing waits to be written
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://localhost/readyz", nil)
	if err != nil {
		return err
	}
	answer, err := one.RoundTrip(ask)
	if err != nil {
		return errTaken
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusServiceUnavailable {
		return errTaken
	}
	return nil
}

// listenTCP opens an address. With replaces it is one of the process that this one takes over from.
// Where a process drains that listens there still, it stays open for that one too.
func listenTCP(network, address, scheme string, replaces bool) (net.Listener, error) {
	if _, port, err := net.SplitHostPort(address); err == nil && port != "0" && !replaces {
		if err := vacant("tcp", reachable(address), scheme); err != nil {
			return nil, err
		}
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(err, failed)
	}}
	l, err := config.Listen(context.Background(), network, address)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, errTaken
	}
	if err != nil {
		return nil, fmt.Errorf("it cannot be opened: %w", err)
	}
	return l, nil
}
