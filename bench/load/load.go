package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	readerBytes   = 32 << 10
	answerTimeout = 5 * time.Second
)

// Options say which request is sent and how often.
type Options struct {
	Addr        string
	Request     []byte // as it goes over the wire, body included
	Pipeline    int    // requests sent at once; 0 is 1
	Connections int    // 0 is 1
	Reconnect   bool   // a connection per request
	Duration    time.Duration
	TLS         *tls.Config // nil: plain
}

// Result holds the counts and latencies of a Run.
type Result struct {
	Requests uint64        `json:"requests"`
	Errors   uint64        `json:"errors"`
	Elapsed  time.Duration `json:"elapsed_ns"`
	P50      time.Duration `json:"p50_ns"`
	P99      time.Duration `json:"p99_ns"`
	Failure  string        `json:"failure,omitempty"` // the first one
}

var errStatus = errors.New("answer is not 2xx")

// Run loads the server until o.Duration has passed or ctx ends.
func Run(ctx context.Context, o Options) Result {
	ctx, cancel := context.WithTimeout(ctx, o.Duration)
	defer cancel()
	o.Pipeline, o.Connections = max(o.Pipeline, 1), max(o.Connections, 1)
	tallies := make([]tally, o.Connections)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range tallies {
		c := &client{options: &o, batch: bytes.Repeat(o.Request, o.Pipeline), tally: &tallies[i]}
		wg.Go(func() { c.run(ctx) })
	}
	wg.Wait()
	return sum(tallies, time.Since(began))
}

// tally is what one connection counts. Owned by its goroutine until Run adds it up.
type tally struct {
	requests, errors uint64
	latencies        []time.Duration
	failure          error
}

func sum(tallies []tally, elapsed time.Duration) Result {
	r := Result{Elapsed: elapsed}
	var all []time.Duration
	for i := range tallies {
		t := &tallies[i]
		r.Requests += t.requests
		r.Errors += t.errors
		all = append(all, t.latencies...)
		if t.failure != nil && r.Failure == "" {
			r.Failure = t.failure.Error()
		}
	}
	slices.Sort(all)
	if n := len(all); n > 0 {
		r.P50, r.P99 = all[n/2], all[n*99/100]
	}
	return r
}

// client is one connection and those that replace it. Owned by its goroutine.
type client struct {
	options *Options
	batch   []byte
	tally   *tally
	conn    net.Conn
	in      *bufio.Reader
}

func (c *client) run(ctx context.Context) {
	defer c.hangUp()
	for ctx.Err() == nil {
		began := time.Now()
		err := c.exchange()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			c.tally.errors++
			if c.tally.failure == nil {
				c.tally.failure = err
			}
			c.hangUp()
			if !pause(ctx, time.Millisecond) {
				return
			}
			continue
		}
		c.tally.requests += uint64(c.options.Pipeline)
		c.tally.latencies = append(c.tally.latencies, time.Since(began))
	}
}

// pause keeps a refused client from spinning. False: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// exchange sends the batch and reads its answers, over a new connection when there is none.
func (c *client) exchange() error {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.options.Addr, answerTimeout) // TLS shakes hands with the first write
		if err != nil {
			return err
		}
		if c.options.TLS != nil {
			conn = tls.Client(conn, c.options.TLS)
		}
		c.conn = conn
		if c.in == nil {
			c.in = bufio.NewReaderSize(nil, readerBytes)
		}
		c.in.Reset(conn)
	}
	if err := c.conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	if _, err := c.conn.Write(c.batch); err != nil {
		return err
	}
	last := c.options.Reconnect
	for range c.options.Pipeline {
		closing, err := readAnswer(c.in)
		if err != nil {
			return err
		}
		last = last || closing
	}
	if last {
		c.hangUp()
	}
	return nil
}

func (c *client) hangUp() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// readAnswer reads one answer to its end and reports whether the server closes after it.
func readAnswer(in *bufio.Reader) (closing bool, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return false, err
	}
	ok := len(line) > 9 && line[9] == '2'
	length, chunked := 0, false
	for {
		line, err = in.ReadSlice('\n')
		if err != nil {
			return false, err
		}
		name, value, found := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		if !found {
			break
		}
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return false, fmt.Errorf("content-length: %w", err)
			}
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			chunked = true
		case bytes.EqualFold(name, []byte("connection")):
			closing = bytes.EqualFold(value, []byte("close"))
		}
	}
	if chunked {
		err = readChunks(in)
	} else {
		_, err = in.Discard(length)
	}
	if err == nil && !ok {
		err = errStatus
	}
	return closing, err
}

func readChunks(in *bufio.Reader) error {
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseUint(string(bytes.TrimRight(line, "\r\n")), 16, 31)
		if err != nil {
			return fmt.Errorf("chunk size: %w", err)
		}
		if _, err := in.Discard(int(size) + len("\r\n")); err != nil {
			return err
		}
		if size == 0 {
			return nil
		}
	}
}
