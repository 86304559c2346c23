//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: needs Linux, for its system calls and for CPU times of single threads")
	os.Exit(1)
}
