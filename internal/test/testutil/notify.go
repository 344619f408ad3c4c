package testutil

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

// NotifySocket is the end of NOTIFY_SOCKET that the supervisor of a service reads: sd_notify(3).
// Owned by its test.
type NotifySocket struct {
	Path string // what NOTIFY_SOCKET is to be
	t    *testing.T
	conn *net.UnixConn
}

// ListenNotify opens a socket until the test ends.
func ListenNotify(t *testing.T) *NotifySocket {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	Must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &NotifySocket{path, t, conn}
}

// Next returns the next datagram; "" when none comes within that time.
func (s *NotifySocket) Next(within time.Duration) string {
	s.t.Helper()
	Must(s.t, s.conn.SetReadDeadline(time.Now().Add(within)))
	text := make([]byte, 4096)
	n, err := s.conn.Read(text)
	if err != nil {
		return ""
	}
	return string(text[:n])
}
