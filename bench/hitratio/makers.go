package hitratio

import (
	"fmt"
	"strconv"
	"strings"
)

// Makers returns all policies, simulators first, in the order of the columns.
func Makers() []Maker {
	return []Maker{
		{"ufo", "the policy of package tinyufo", newUFO},
		{"s3-fifo", "S3-FIFO", newS3FIFO},
		{"cf-tinyufo", "TinyUFO as Cloudflare made it", newCloudflareUFO},
		{"lirs", "LIRS", newLIRS},
		{"tinyufo", "package tinyufo, in as many shards as it chooses", newTinyUFO},
		{"lru", "LRU of github.com/hashicorp/golang-lru/v2", newLRU},
		{"arc", "ARC of github.com/hashicorp/golang-lru/arc/v2", newARC},
		{"otter", "W-TinyLFU of github.com/maypok86/otter/v2", newOtter},
		{"theine", "W-TinyLFU of github.com/Yiling-J/theine-go", newTheine},
		{"ristretto", "TinyLFU of github.com/dgraph-io/ristretto/v2", newRistretto},
	}
}

// Find returns the makers of names, all of them for no name. A name like "ufo/16" is ufo in 16 shards.
func Find(names []string) ([]Maker, error) {
	all := Makers()
	if len(names) == 0 {
		return all, nil
	}
	var found []Maker
	for _, name := range names {
		base, count, cut := strings.Cut(name, "/")
		i := 0
		for i < len(all) && all[i].Name != base {
			i++
		}
		if i == len(all) {
			return nil, fmt.Errorf("no policy is called %q", base)
		}
		m := all[i]
		if cut {
			shards, err := strconv.Atoi(count)
			if err != nil || shards < 1 {
				return nil, fmt.Errorf("%q: the number of shards is wrong", name)
			}
			m = Sharded(m, shards)
		}
		found = append(found, m)
	}
	return found, nil
}

// Sharded makes m in so many shards, each with its part of the capacity, among which a hash chooses.
func Sharded(m Maker, shards int) Maker {
	return Maker{
		Name: fmt.Sprintf("%s/%d", m.Name, shards), What: fmt.Sprintf("%s in %d shards", m.What, shards),
		New: func(capacity int) Policy {
			s := make(sharded, shards)
			for i := range s {
				s[i] = m.New(max(1, (capacity+i)/shards))
			}
			return s
		},
	}
}

type sharded []Policy

// Access chooses by a hash that shares nothing with the one of the sketch.
func (s sharded) Access(key uint64) bool {
	return s[mix(key^0x5bf03635f0a5b2c1)>>32*uint64(len(s))>>32].Access(key)
}

func (s sharded) Close() {
	for _, p := range s {
		closePolicy(p)
	}
}

func closePolicy(p Policy) {
	if c, ok := p.(interface{ Close() }); ok {
		c.Close()
	}
}
