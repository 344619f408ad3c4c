package balance

import (
	"encoding/binary"

	lb "github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/bench/report"
)

// Keys is how a method that hashes distributes keys, and what it moves when one backend closes.
type Keys struct {
	Method    string  `json:"method"`
	Members   int     `json:"members"`
	Imbalance float64 `json:"imbalance"` // keys of the backend with the most, over the average
	Needless  float64 `json:"needless"`  // part of the keys that moved though their backend is open
	Spread    float64 `json:"spread"`    // backends that got keys of the closed one, as a part of those that are open
	After     float64 `json:"after"`     // Imbalance among those that are open
	Joined    float64 `json:"joined"`    // part of the keys that moved to another than the new one when one more joined
}

const keysCount = 100_000

// HashKeys measures the methods that hash, with pools of some sizes.
func HashKeys(seed uint64) (list []Keys) {
	for _, m := range []*lb.Method{lb.Ketama, lb.Maglev, lb.IPHash} {
		for _, members := range []int{4, 10, 100} {
			list = append(list, hashKeys(m, members, seed))
		}
	}
	return list
}

func hashKeys(m *lb.Method, members int, seed uint64) Keys {
	r := stream(seed, 5)
	backends := make([]lb.Backend, members+1)
	for i := range backends {
		backends[i] = lb.Backend{Name: address(i), Weight: 1}
	}
	all := lb.NewView(backends[:members], nil)
	down := members / 2
	less, more := all.With(down, false), lb.NewView(backends, nil)
	picker := m.New(0, 1)
	counts, after := make([]int, members), make([]int, members)
	k := Keys{Method: m.Name, Members: members}
	got := make(map[int]bool)
	var key [4]byte
	for range keysCount {
		binary.BigEndian.PutUint32(key[:], r.Uint32())
		q := lb.Request{Key: m.Hash(key[:]), Keyed: true}
		from, to, joined := picker.Pick(all, nil, &q), picker.Pick(less, nil, &q), picker.Pick(more, nil, &q)
		counts[from]++
		after[to]++
		if from == down {
			got[to] = true
		} else if from != to {
			k.Needless += 1.0 / keysCount
		}
		if joined != from && joined != members {
			k.Joined += 1.0 / keysCount
		}
	}
	most, mostAfter := 0, 0
	for i := range counts {
		most, mostAfter = max(most, counts[i]), max(mostAfter, after[i])
	}
	k.Imbalance = float64(most) * float64(members) / keysCount
	k.After = float64(mostAfter) * float64(members-1) / keysCount
	k.Spread = float64(len(got)) / float64(members-1)
	return k
}

func keysPart(list []Keys) *report.Table {
	t := report.NewTable("methods that hash, 100 000 keys: one backend closes, or one joins",
		"method\tn\tmost keys, over the average\tone closed\tmoved needlessly\tspread\tmoved by a join")
	for _, k := range list {
		t.Add("%s\t%d\t%s\t%s\t%.2f %%\t%.2f %%\t%.2f %%", k.Method, k.Members, report.Digits(k.Imbalance),
			report.Digits(k.After), 100*k.Needless, 100*k.Spread, 100*k.Joined)
	}
	return t
}
