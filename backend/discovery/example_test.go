package discovery_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/discovery"
)

// inventory is a Source of one's own: it asks for the backends again whenever something was told to it.
type inventory struct {
	list    func() ([]backend.Spec, error)
	changed chan struct{}
}

func (s *inventory) Run(ctx context.Context, publish func([]backend.Spec, error)) error {
	for {
		publish(s.list()) // an error keeps the members that there are
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.changed:
		}
	}
}

// A service whose backends a program finds by code of its own.
func ExampleSource() {
	source := &inventory{changed: make(chan struct{}), list: func() ([]backend.Spec, error) {
		return []backend.Spec{{Address: "10.0.0.1:80"}, {Address: "10.0.0.2:80", Weight: 2}}, nil
	}}
	set := backend.NewSet()
	r := discovery.Start(discovery.Options{Upstream: "users", Name: "inventory", Source: source})
	defer r.Stop()
	<-r.Ready()
	r.Join(set)
	for _, m := range set.Members() {
		fmt.Println(m.Address(), "with weight", m.Weight())
	}
	// Output:
	// 10.0.0.1:80 with weight 1
	// 10.0.0.2:80 with weight 2
}

// joined tells of members that come.
type joined chan *backend.Member

func (j joined) Joined(m *backend.Member) { j <- m }
func (j joined) Left(*backend.Member)     {}

// A service whose backends are the lines of a file. A line that comes is a member within a second.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "users")
	if err := os.WriteFile(file, []byte("10.0.0.1:80\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	source, err := discovery.Open("file://"+file, discovery.Opening{}) // or dns://, etcd://, consul://, k8s:// …
	if err != nil {
		log.Fatal(err)
	}
	r := discovery.Start(discovery.Options{Upstream: "users", Name: "file", Source: source})
	defer r.Stop()
	set, members := backend.NewSet(), make(joined, 2)
	set.Follow(members)
	r.Join(set)
	fmt.Println((<-members).Address())

	if err := os.WriteFile(file, []byte("10.0.0.1:80\n10.0.0.2:80\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	fmt.Println((<-members).Address())
	// Output:
	// 10.0.0.1:80
	// 10.0.0.2:80
}
