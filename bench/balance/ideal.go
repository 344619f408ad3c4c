package balance

// ideal is what no proxy can reach: one line of requests before all backends, which gives each of them to a backend
// with an idle worker, to the fastest of these, and never to a backend that fails, stands still, or is 5 × slower or
// more.
// No request of it hangs.
type ideal struct {
	*world
	line delay // of requests, in the order in which they came
	turn int   // where the search for an idle one begins
}

// idealSlowest is by how much slower a backend is that ideal does not use.
const idealSlowest = 5

func runIdeal(s *Scenario, members, requests int, seed uint64) *Result {
	d := &ideal{world: newWorld(s, members, requests, seed)}
	for {
		at := min(d.arrivals.next, d.toBackend.at(), d.finished.at(), d.awake.at(), d.toProxy.at())
		if at == endOfTime {
			return d.finish()
		}
		d.now = at
		switch at {
		case d.toProxy.at():
			id := d.toProxy.pop()
			d.record(&d.requests[id])
			d.free = append(d.free, id)
		case d.finished.at():
			id := d.finished.pop()
			d.members[d.requests[id].backend].busy--
			d.toProxy.push(at+way, id)
			d.dispatch()
		case d.awake.at():
			d.toProxy.push(at+way, d.awake.pop())
		case d.toBackend.at():
			if id := d.toBackend.pop(); d.requests[id].wait > 0 {
				d.awake.push(at+d.requests[id].wait, id)
			} else {
				d.line.push(at, id)
				d.dispatch()
			}
		default:
			d.toBackend.push(at+way, d.take())
		}
	}
}

// dispatch gives requests to idle workers.
func (d *ideal) dispatch() {
	for d.line.at() != endOfTime {
		i := d.idle()
		if i < 0 {
			return
		}
		id := d.line.pop()
		d.requests[id].backend = int32(i)
		d.start(i, id)
	}
}

// idle returns the fastest backend with an idle worker, or -1.
func (d *ideal) idle() int {
	best, least := -1, float64(idealSlowest)
	for range d.members {
		if d.turn++; d.turn >= len(d.members) {
			d.turn = 0
		}
		m := &d.members[d.turn]
		if m.busy >= m.workers || m.paused(d.now) {
			continue
		}
		now := d.trouble(d.turn)
		if now.fails > 0 || now.closed || now.factor >= least {
			continue
		}
		if best, least = d.turn, now.factor; least == 1 {
			break
		}
	}
	return best
}
