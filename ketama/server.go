package ketama

import (
	"errors"
	"fmt"
	"slices"
)

// What New, New64, NewMaglev and With refuse. The errors that they return wrap one of these.
var (
	ErrServers   = errors.New("ketama: more than 65535 servers")
	ErrPoints    = errors.New("ketama: a negative number of points, or more than 67108864")
	ErrWeight    = errors.New("ketama: a weight below zero, or a sum of weights above 67108864")
	ErrDuplicate = errors.New("ketama: two servers of the same name")
	ErrAddress   = errors.New("ketama: the layouts of Pingora know only IP addresses with a port and without a zone")
	ErrTableSize = errors.New("ketama: a table has a prime number of entries up to 67108864, and one for each server")
)

const (
	serversMax = 1<<16 - 1 // an index fits a uint16
	pointsMax  = 1 << 26   // of a ring, entries of a table, and the sum of weights: sums fit an int32
)

// Server is one of those that keys are spread over.
type Server struct {
	// Name is what is hashed, unique among the servers. For a ring that is to be nginx's it is the text after "server"
	// in the upstream block, as written there.
	Name string

	// Weight is its share of the keys. 0 is taken as 1.
	Weight int
}

// weight returns the weight that counts.
func (s *Server) weight() int { return max(s.Weight, 1) }

// members is the servers of a ring or a table. Immutable.
type members struct {
	servers    []Server
	cumulative []int // cumulative[i] is the sum of the weights before server i
	total      int   // the sum of all weights
}

// newMembers copies servers and adds up their weights.
func newMembers(servers []Server) (members, error) {
	if len(servers) > serversMax {
		return members{}, fmt.Errorf("%w: %d", ErrServers, len(servers))
	}
	m := members{append([]Server{}, servers...), make([]int, len(servers)), 0}
	seen := make(map[string]struct{}, len(servers))
	for i := range servers {
		s := &servers[i]
		if m.cumulative[i] = m.total; s.Weight < 0 || s.Weight > pointsMax-m.total {
			return members{}, fmt.Errorf("%w: %q has weight %d", ErrWeight, s.Name, s.Weight)
		}
		m.total += s.weight()
		seen[s.Name] = struct{}{}
		if len(seen) <= i {
			return members{}, fmt.Errorf("%w: %q", ErrDuplicate, s.Name)
		}
	}
	return m, nil
}

// with returns the members with one more.
func (m *members) with(s Server) (members, error) {
	switch n := len(m.servers); {
	case n == serversMax:
		return members{}, fmt.Errorf("%w: %d", ErrServers, n+1)
	case s.Weight < 0 || s.Weight > pointsMax-m.total:
		return members{}, fmt.Errorf("%w: %q has weight %d", ErrWeight, s.Name, s.Weight)
	case m.indexOf(s.Name) >= 0:
		return members{}, fmt.Errorf("%w: %q", ErrDuplicate, s.Name)
	}
	return members{
		append(slices.Clip(m.servers), s), append(slices.Clip(m.cumulative), m.total), m.total + s.weight(),
	}, nil
}

// without returns the members but server i.
func (m *members) without(i int) members {
	next := members{slices.Delete(slices.Clone(m.servers), i, i+1), make([]int, len(m.servers)-1), 0}
	for k := range next.servers {
		next.cumulative[k] = next.total
		next.total += next.servers[k].weight()
	}
	return next
}

// indexOf returns the index of the server of a name, or -1.
func (m *members) indexOf(name string) int {
	return slices.IndexFunc(m.servers, func(s Server) bool { return s.Name == name })
}
