package registry

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"time"
)

// etcdRegistry keeps an entry as a key that is bound to a lease, by the JSON gateway of etcd (3.4 on).
// Owned by the goroutine of its Registration.
type etcdRegistry struct {
	bases      []string
	prefix, ca string

	client *Client
	lease  int64 // 0: none
	put    Entry // by the last put; compared with what is to be put
	at     string
}

// The messages of the gateway. Numbers of 64 bits are strings in them, bytes are base64.
type (
	etcdLease struct {
		ID  int64 `json:"ID,omitempty,string"`
		TTL int64 `json:"TTL,omitempty,string"` // seconds
	}
	etcdPut struct {
		Key   []byte `json:"key"`
		Value []byte `json:"value"`
		Lease int64  `json:"lease,string"`
	}
	etcdCompare struct {
		Key    []byte `json:"key"`
		Target string `json:"target"`
		Result string `json:"result"`
		Create int64  `json:"create_revision,string"`
	}
	etcdThen struct {
		Put etcdPut `json:"request_put"`
	}
	etcdTxn struct {
		Compare []etcdCompare `json:"compare"`
		Success []etcdThen    `json:"success"`
	}
)

// Put renews the lease, or has the key bound to a new one. A new lease takes the key from the process that had it
// before.
func (g *etcdRegistry) Put(ctx context.Context, e *Entry) (string, error) {
	if g.client == nil {
		c, err := NewClient(g.bases, ClientOptions{Agent: agent, CA: g.ca})
		if err != nil {
			return "", err
		}
		g.client = c
	}
	if g.lease != 0 && e.TTL == g.put.TTL {
		switch kept, err := renew(ctx, g.client, g.lease); {
		case err != nil:
			return "", err
		case kept && *e == g.put:
			return g.at, g.restore(ctx)
		case kept:
			return g.bind(ctx, e)
		}
	}
	seconds := int64((e.TTL + time.Second - 1) / time.Second)
	lease, err := grant(ctx, g.client, seconds)
	if err != nil {
		return "", err
	}
	g.lease = lease
	return g.bind(ctx, e)
}

var errNoLease = errors.New("etcd has granted no lease")

// renew reports whether a lease is still there, for another TTL.
func renew(ctx context.Context, c *Client, lease int64) (kept bool, err error) {
	var answer struct {
		Result etcdLease
	}
	if _, err = c.Call(ctx, "POST", "/v3/lease/keepalive", etcdLease{ID: lease}, &answer); isMissing(err) {
		return false, nil
	}
	return answer.Result.TTL > 0, err
}

const statusMissing = 404

// isMissing reports whether the server answered that there is nothing of that name.
func isMissing(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Code == statusMissing
}

// bind writes the key, whatever it had before.
func (g *etcdRegistry) bind(ctx context.Context, e *Entry) (string, error) {
	address := e.Address
	if strings.HasPrefix(address, ":") {
		address = net.JoinHostPort(g.client.Local().String(), address[1:])
	}
	put, err := g.message(e, address)
	if err == nil {
		_, err = g.client.Call(ctx, "POST", "/v3/kv/put", put, nil)
	}
	if err != nil {
		return "", err
	}
	g.put, g.at = *e, address
	return address, nil
}

// restore writes the key if it was removed. A key that another process has written stays.
func (g *etcdRegistry) restore(ctx context.Context) error {
	put, err := g.message(&g.put, g.at)
	if err != nil {
		return err
	}
	_, err = putAbsent(ctx, g.client, put)
	return err
}

// putAbsent writes a key that is not there, and reports whether it has.
func putAbsent(ctx context.Context, c *Client, put etcdPut) (done bool, err error) {
	var answer struct{ Succeeded bool }
	absent := etcdCompare{Key: put.Key, Target: "CREATE", Result: "EQUAL", Create: 0}
	_, err = c.Call(ctx, "POST", "/v3/kv/txn",
		etcdTxn{Compare: []etcdCompare{absent}, Success: []etcdThen{{put}}}, &answer)
	return answer.Succeeded, err
}

// message returns what binds the key to the lease.
func (g *etcdRegistry) message(e *Entry, address string) (etcdPut, error) {
	value, err := json.Marshal(struct {
		Address string `json:"address"`
		Weight  int    `json:"weight"`
		Zone    string `json:"zone,omitempty"`
	}{address, e.Weight, e.Zone})
	key := strings.TrimSuffix(g.prefix, "/") + "/" + e.Called(address)
	return etcdPut{[]byte(key), value, g.lease}, err
}

// Withdraw ends the lease, and so removes the key unless another lease has it by now.
func (g *etcdRegistry) Withdraw(ctx context.Context) error {
	if g.lease == 0 {
		return nil
	}
	defer g.client.Close()
	lease := g.lease
	g.lease = 0
	return revoke(ctx, g.client, lease)
}

// revoke ends a lease, and so removes its keys.
func revoke(ctx context.Context, c *Client, lease int64) error {
	_, err := c.Call(ctx, "POST", "/v3/lease/revoke", etcdLease{ID: lease}, nil)
	if isMissing(err) {
		return nil
	}
	return err
}

// grant returns a new lease.
func grant(ctx context.Context, c *Client, seconds int64) (lease int64, err error) {
	var granted etcdLease
	_, err = c.Call(ctx, "POST", "/v3/lease/grant", etcdLease{TTL: seconds}, &granted)
	if err == nil && granted.ID == 0 {
		err = errNoLease
	}
	return granted.ID, err
}
