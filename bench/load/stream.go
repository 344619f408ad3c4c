package load

// exchange is one request in progress on a stream of type S. Owned by its client.
type exchange[S any] struct {
	stream *S    // nil: free
	start  int64 // its latency counts from here
	sent   int64
	status uint16
	body   []byte // not sent yet
}

// exchanges are those that a connection may have in progress. Owned by its client.
//
//	an exchange is in free or has a stream
type exchanges[S any] struct {
	all  []exchange[S]
	free []*exchange[S]
}

func newExchanges[S any](n int) exchanges[S] {
	x := exchanges[S]{all: make([]exchange[S], n), free: make([]*exchange[S], 0, n)}
	x.releaseAll()
	return x
}

// begin makes an exchange of s. There is a free one.
func (x *exchanges[S]) begin(s *S, start, now int64, body []byte) *exchange[S] {
	last := len(x.free) - 1
	q := x.free[last]
	x.free = x.free[:last]
	*q = exchange[S]{stream: s, start: start, sent: now, body: body}
	return q
}

// of returns the exchange that is the owner of s; nil where it is over.
func (x *exchanges[S]) of(s *S, owner any) *exchange[S] {
	if q, _ := owner.(*exchange[S]); q != nil && q.stream == s {
		return q
	}
	return nil
}

// release frees q, and returns from when on its latency counts, and its status.
func (x *exchanges[S]) release(q *exchange[S]) (start int64, status uint16) {
	q.stream, q.body = nil, nil
	x.free = append(x.free, q)
	return q.start, q.status
}

// releaseAll frees all exchanges and returns how many were in progress.
func (x *exchanges[S]) releaseAll() (n int) {
	x.free = x.free[:0]
	for i := range x.all {
		q := &x.all[i]
		if q.stream != nil {
			n++
		}
		x.release(q)
	}
	return n
}

// oldest returns when the first request that has no answer was sent; now if there is none.
func (x *exchanges[S]) oldest(now int64) int64 {
	for i := range x.all {
		if q := &x.all[i]; q.stream != nil {
			now = min(now, q.sent)
		}
	}
	return now
}

// expire calls giveUp for each exchange whose request was sent at last or before.
func (x *exchanges[S]) expire(last int64, giveUp func(*S)) (n int) {
	for i := range x.all {
		if q := &x.all[i]; q.stream != nil && q.sent <= last {
			giveUp(q.stream)
			x.release(q)
			n++
		}
	}
	return n
}
