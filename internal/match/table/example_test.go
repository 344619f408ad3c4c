package table_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/edge-proxy/edge/internal/match/table"
)

// A list of addresses in a file, and a map of a few prefixes.
func Example() {
	dir, err := os.MkdirTemp("", "table")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "office.txt")
	if err := os.WriteFile(path, []byte("10.0.0.0/8 # Berlin\n2001:db8::/32\n"), 0o600); err != nil {
		panic(err)
	}
	office := table.NewList("office", table.Options{})
	site := table.NewMap("site", table.Options{})

	// When a configuration is loaded: prepare all tables, on a worker, and commit them when none is wrong.
	list, err := office.Prepare(table.Source{File: path})
	if err != nil {
		panic(err)
	}
	pairs, err := site.Prepare(table.Source{Inline: []table.Entry{
		{Key: "10.0.0.0/8", Value: "Berlin"}, {Key: "10.9.0.0/16", Value: "Rome"},
	}})
	if err != nil {
		panic(err)
	}
	list.Commit()
	pairs.Commit()

	// On event loops.
	client := netip.MustParseAddr("10.9.0.7")
	where, _ := site.Addr(client)
	fmt.Println(office.HasAddr(client), string(where))

	// From time to time, on a worker. A wrong file changes nothing.
	if err := os.WriteFile(path, []byte("10.0.0.0/8\n10.0.0.1/8\n"), 0o600); err != nil {
		panic(err)
	}
	_, err = office.Refresh()
	fmt.Println(err != nil, office.HasAddr(client))
	// Output:
	// true Rome
	// true true
}
