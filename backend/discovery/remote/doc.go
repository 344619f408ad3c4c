// Package remote asks registries over HTTP with JSON: etcd by its gateway, Kubernetes, Docker and Consul. Package
// discovery finds backends by it, package register registers instances by it.
//
// It is not a client of any of them: it knows no path and no message. No backend is asked by it either.
//
//	c, err := remote.New(remote.Bases(l), remote.Options{…})
//	c.Call(ctx, "POST", path, body, &to)      one answer
//	s, err := c.Open(ctx, "GET", path, nil)   one value after another: a watch
//	s.Next(&to); s.Close()
//	c.Close()
//
// Several servers are asked in turn until one answers, which is then asked first. Redirects are not followed: a token
// would go along. An answer that is none of 200 is a StatusError.
//
// # Life and threads
//
// A Client and its Streams belong to one goroutine. The context of a request ends it, and the whole of a Stream.
//
// # Limits
//
// 5 s for a connection and for a TLS handshake, 10 s for the head of an answer unless Options.Wait says otherwise, 32
// MiB for an answer and for one message of a stream.
package remote
