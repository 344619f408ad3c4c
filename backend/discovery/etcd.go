package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/registry"
)

// etcdSource finds the backends that the values of the keys with a prefix are, by the JSON gateway of etcd (3.4 on).
// Owned by the goroutine of its Runner.
type etcdSource struct {
	bases  []string
	prefix string
	ca     string
}

// The messages of the gateway. Numbers of 64 bits are strings in them, bytes are base64.
type (
	etcdRange struct {
		Key      []byte `json:"key"`
		RangeEnd []byte `json:"range_end"`
		Start    int64  `json:"start_revision,omitempty,string"`
	}
	etcdHeader struct {
		Revision int64 `json:"revision,string"`
	}
	etcdPair struct {
		Key   []byte `json:"key"`
		Value []byte `json:"value"`

		backend backend.Spec // that Value is; without an address: it is not parsed yet
		err     error        // it is none
	}
	etcdFound struct {
		Header etcdHeader `json:"header"`
		Pairs  []etcdPair `json:"kvs"`
	}
	etcdEvents struct {
		Result struct {
			Canceled bool   `json:"canceled"`
			Reason   string `json:"cancel_reason"`
			Events   []struct {
				Type string   `json:"type"` // "" is PUT
				Pair etcdPair `json:"kv"`
			} `json:"events"`
		} `json:"result"`
		Error *struct {
			Message string `json:"message"`
		} `json:"error"`
	}
)

// Run reads the range and then watches it from the revision after. After the end of the watch, also because the
// revision was compacted away, it reads the range again.
func (s *etcdSource) Run(ctx context.Context, publish func([]backend.Spec, error)) error {
	r, err := registry.NewClient(s.bases, registry.ClientOptions{Agent: agent, CA: s.ca})
	if err != nil {
		return err
	}
	defer r.Close()
	of := etcdRange{Key: []byte(s.prefix), RangeEnd: prefixEnd(s.prefix)}
	var found etcdFound
	if _, err := r.Call(ctx, "POST", "/v3/kv/range", of, &found); err != nil {
		return err
	}
	values := make(map[string]*etcdPair, len(found.Pairs))
	for i := range found.Pairs {
		values[string(found.Pairs[i].Key)] = &found.Pairs[i]
	}
	if err := checkKeyCount(values); err != nil {
		return err
	}
	publish(s.specs(values))
	of.Start = found.Header.Revision + 1
	events, err := r.Open(ctx, "POST", "/v3/watch", map[string]any{"create_request": of})
	if err != nil {
		return err
	}
	defer events.Close()
	for {
		var e etcdEvents
		if err := events.Next(&e); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		switch {
		case e.Error != nil:
			return fmt.Errorf("watch: %s", e.Error.Message)
		case e.Result.Canceled:
			return fmt.Errorf("watch: %s", e.Result.Reason)
		case len(e.Result.Events) == 0:
			continue // it begins, or goes on
		}
		for _, one := range e.Result.Events {
			if one.Type == "DELETE" {
				delete(values, string(one.Pair.Key))
			} else {
				values[string(one.Pair.Key)] = &one.Pair
			}
		}
		if err := checkKeyCount(values); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		publish(s.specs(values))
	}
}

// checkKeyCount returns an error where values are more than a source may have backends. Keys that are no backends
// count.
func checkKeyCount(values map[string]*etcdPair) error {
	size := 0
	for key, p := range values {
		size += len(key) + len(p.Value)
	}
	if len(values) > membersMax || size > registry.FileMax {
		return fmt.Errorf("%d keys of %d bytes, more than %d or %d", len(values), size, membersMax, registry.FileMax)
	}
	return nil
}

// prefixEnd returns the first key after all that have a prefix.
func prefixEnd(prefix string) []byte {
	end := []byte(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return []byte{0} // all keys
}

// specs returns the backends that the values of keys are. A value that is none is left out, so that one writer does
// not stop all others, unless there is no other. Each is parsed once, however often another one changes.
func (s *etcdSource) specs(values map[string]*etcdPair) ([]backend.Spec, error) {
	list := make([]backend.Spec, 0, len(values))
	var failed error
	for key, p := range values {
		if p.err == nil && p.backend.Address == "" {
			p.backend, p.err = parseValue(p.Value)
		}
		if p.err != nil {
			failed = fmt.Errorf("key %q: %w", key, p.err)
			continue
		}
		list = append(list, p.backend)
	}
	if len(list) > 0 {
		return list, nil
	}
	if len(values) == 0 && !strings.HasPrefix(s.prefix, "/") {
		failed = noneBecause("no key has the prefix: where keys begin with a slash, write two slashes after the port")
	}
	return nil, failed
}

// parseValue reads a backend as a line of a file, as an object of JSON, or as etcd's package naming/endpoints writes it
// for gRPC, with "Addr".
func parseValue(value []byte) (backend.Spec, error) {
	text := strings.TrimSpace(string(value))
	if !strings.HasPrefix(text, "{") {
		f := strings.Fields(text)
		if len(f) == 0 {
			return backend.Spec{}, errNoBackend
		}
		b, err := parseLine(f)
		if err == nil && !usable(&b) {
			err = errNoBackend
		}
		return b, err
	}
	var of struct{ Addr string }
	if json.Unmarshal(value, &of) == nil && of.Addr != "" {
		b := backend.Spec{Address: of.Addr}
		if usable(&b) {
			return b, nil
		}
	}
	list, err := parseJSON([]byte("[" + text + "]"))
	if err == nil && len(list) != 1 {
		err = errNoBackend
	}
	if err != nil {
		return backend.Spec{}, errors.Join(errNoBackend, err)
	}
	return list[0], nil
}
