// Command discover is the edge program with one more source of backends: each Unix socket in a folder is one.
package main

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/discovery"
	"github.com/edge-proxy/edge/program"
)

// sockets finds the backends whose Unix sockets are in a folder.
type sockets struct{ folder string }

func (s *sockets) Run(ctx context.Context, publish func([]backend.Spec, error)) error {
	for {
		files, err := os.ReadDir(s.folder)
		var list []backend.Spec
		for _, f := range files {
			if f.Type() == fs.ModeSocket {
				list = append(list, backend.Spec{Address: "unix:" + filepath.Join(s.folder, f.Name())})
			}
		}
		publish(list, err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func main() {
	s := program.New(program.Options{Conf: "edge.toml"})
	s.Source("sockets", func(l *discovery.Locator) (discovery.Source, error) { return &sockets{l.Path}, nil })
	program.Exit(s.Run())
}
