// Command services is one of three services that find each other through edge, by edge.toml in this folder. Each one
// registers itself where edge looks for it, and asks the others by their names at edge:
//
//	shop ──► prices ──► stock        GET /shop/tea: what a thing costs, and how many there are
//	  └──────────────────►┘
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/backend/registry"
)

func main() {
	name := flag.String("name", "shop", "the service: shop, prices or stock")
	registry := flag.String("registry", "etcd://127.0.0.1:2379/demo", "where services register; or file:///folder")
	edge := flag.String("edge", "http://127.0.0.1:8080", "where edge is")
	listen := flag.String("listen", "127.0.0.1:0", "the address of this instance")
	linger := flag.Duration("linger", time.Second, "how long it serves on after it was withdrawn")
	flag.Parse()
	if err := run(*name, *registry+"/"+*name, *listen, *linger, others(*edge)); err != nil {
		log.Fatal(err)
	}
}

// asker asks another service for a thing.
type asker func(service, thing string) (string, error)

// services are what the three answer about a thing.
var services = map[string]func(thing string, ask asker) (string, error){
	"shop": func(thing string, ask asker) (string, error) {
		price, err := ask("prices", thing)
		left, err2 := ask("stock", thing)
		return fmt.Sprintf("%s costs %s, %s left", thing, price, left), errors.Join(err, err2)
	},
	"prices": func(thing string, ask asker) (string, error) {
		if left, err := ask("stock", thing); err != nil || left != "1" {
			return "3 €", err
		}
		return "5 €", nil // it is the last one
	},
	"stock": func(thing string, _ asker) (string, error) { return fmt.Sprint(len(thing)), nil },
}

// run serves until SIGTERM or SIGINT. Others find the instance from its start on, and no more when it ends.
func run(name, to, listen string, linger time.Duration, ask asker) error {
	answer, known := services[name]
	if !known {
		return fmt.Errorf("there is no service %q", name)
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server, failed := &http.Server{Handler: handler(answer, ask)}, make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	log.Printf("%s: listening on %s", name, l.Addr())

	opened, err := registry.Open(to, registry.Opening{})
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	instance := registry.Register(registry.Options{
		To: to, Registry: opened, Entry: registry.Entry{Address: l.Addr().String(), TTL: 3 * time.Second},
	})
	select {
	case err = <-failed:
	case <-signals:
	}
	instance.Withdraw(context.Background())
	time.Sleep(linger) // others have to hear of it
	return errors.Join(err, server.Shutdown(context.Background()))
}

// handler answers GET /name/thing.
func handler(answer func(thing string, ask asker) (string, error), ask asker) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := answer(path.Base(r.URL.Path), ask)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprint(w, text)
	})
}

// others returns what asks another service, by its name at edge: which instances it has is up to edge.
func others(edge string) asker {
	return func(service, thing string) (string, error) {
		resp, err := http.Get(edge + "/" + service + "/" + thing)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", service, resp.Status)
		}
		return string(text), err
	}
}
