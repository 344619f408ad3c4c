package discovery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/registry"
)

// fileSource finds the backends that a file lists.
// Owned by the goroutine of its Runner.
type fileSource struct{ path string }

// Run reads the file whenever something happens in its folder: a file that others rename into its place is another one,
// and so is the folder that a symbolic link of Kubernetes leads to.
func (s *fileSource) Run(ctx context.Context, publish func([]backend.Spec, error)) error {
	w := watched.watch(s.path)
	defer watched.close(w)
	var last []byte
	failed := true
	for {
		text, _, err := registry.ReadFile(s.path)
		switch {
		case err != nil:
			failed = true
			publish(nil, err)
		case failed || !bytes.Equal(text, last):
			list, err := parseFile(text)
			last, failed = text, err != nil
			publish(list, err)
		}
		if err := watched.wait(ctx, w); err != nil {
			return err
		}
	}
}

// parseFile reads a list of backends: JSON when it begins with "[", else lines.
func parseFile(text []byte) ([]backend.Spec, error) {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		return parseJSON(text)
	}
	var list []backend.Spec
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		b, err := parseLine(f)
		if err == nil && !usable(&b) {
			err = errNoBackend
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %q: %w", n, strings.TrimSpace(line), err)
		}
		list = append(list, b)
	}
	return list, nil
}

var errNoBackend = errors.New("want host:port or unix:/path, and a weight from 1 to 65535")

// parseLine reads "address [weight=N] [zone=Z] [backup]".
func parseLine(f []string) (b backend.Spec, err error) {
	b.Address = f[0]
	for _, word := range f[1:] {
		name, value, _ := strings.Cut(word, "=")
		switch {
		case name == "weight":
			if b.Weight, err = strconv.Atoi(value); err != nil || b.Weight == 0 {
				return b, errNoBackend
			}
		case name == "zone" && value != "":
			b.Zone = value
		case word == "backup":
			b.Tier = 1
		default:
			return b, fmt.Errorf("%q is not one of weight=N, zone=NAME, backup", word)
		}
	}
	return b, nil
}

// parseJSON reads a list of addresses, or of objects with the words of lines as keys.
func parseJSON(text []byte) ([]backend.Spec, error) {
	var all []json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	list := make([]backend.Spec, len(all))
	for i, raw := range all {
		var one struct {
			Address string `json:"address"`
			Weight  *int   `json:"weight"`
			Zone    string `json:"zone"`
			Backup  bool   `json:"backup"`
		}
		into := any(&one)
		if bytes.HasPrefix(raw, []byte(`"`)) {
			into = &one.Address
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		err := d.Decode(into)
		b := &list[i]
		b.Address, b.Zone = one.Address, one.Zone
		if one.Backup {
			b.Tier = 1
		}
		if one.Weight != nil {
			b.Weight = *one.Weight
		}
		if err == nil && (!usable(b) || one.Weight != nil && b.Weight == 0) {
			err = errNoBackend
		}
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", i+1, err)
		}
	}
	return list, nil
}
