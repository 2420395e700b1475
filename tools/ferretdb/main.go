// FerretDB speaks MongoDB's protocol in front of SQLite: the MongoDB of tests/stores.
//
// A program of ours on its public package: the module's own panics at start when it is built outside of its repository.
package main

import (
	"context"
	"flag"
	"log"
	"os/signal"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	address := flag.String("listen", "127.0.0.1:27017", "address and port")
	folder := flag.String("folder", ".", "where databases are kept")
	flag.Parse()
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: *address},
		Handler:   "sqlite",
		SQLiteURL: "file:" + *folder + "/",
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err = server.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
