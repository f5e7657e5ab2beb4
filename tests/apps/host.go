// A web server in Go with the standard library's CGI host, net/http/cgi: what lies in cgi-bin of a folder is run. It
// prints a line once it listens.
//
//	usage: host ADDRESS FOLDER
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	address, folder := os.Args[1], os.Args[2]
	mux := http.NewServeMux()
	mux.HandleFunc("/cgi-bin/", func(w http.ResponseWriter, r *http.Request) {
		name := strings.SplitN(r.URL.Path, "/", 4)[2]
		path := filepath.Join(folder, "cgi-bin", name)
		if _, err := os.Stat(path); err != nil || name == "" {
			http.NotFound(w, r)
			return
		}
		host := cgi.Handler{Path: path, Root: "/cgi-bin/" + name, PathLocationHandler: mux}
		host.ServeHTTP(w, r)
	})
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listens at", listener.Addr())
	log.Fatal(http.Serve(listener, mux))
}
