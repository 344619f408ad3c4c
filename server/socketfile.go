package server

import (
	"io/fs"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/internal/socketfile"
)

// fileID names the file of a socket as long as f is open; the zero FileID for nil.
func fileID(f *socketfile.File) FileID {
	dev, ino := f.ID()
	return FileID{dev, ino}
}

// socketRights returns the owner and the mode of the Unix sockets of c; -1 and 0: they stay as they are.
func (s *Server) socketRights(c *config.Listener) (uid, gid int, mode fs.FileMode) {
	uid, gid = -1, -1
	if s.opts.Owner != nil {
		uid, gid = s.opts.Owner.UID, s.opts.Owner.GID
	}
	if c.SocketOwner.Text != "" {
		uid, gid = c.SocketOwner.UID, c.SocketOwner.GID
	}
	return uid, gid, c.SocketMode
}
