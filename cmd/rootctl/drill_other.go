//go:build !linux

package main

import (
	"context"
	"os"
	"os/exec"
)

func selfPath() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

func dieTogether(*exec.Cmd) {}

func isolate(context.Context, *env, string, drillOptions) error {
	return &userError{what: "a drill needs a network of its own, which this system cannot make", hint: "run it on Linux; rootctl snapshot verify checks an archive anywhere"}
}

func loopback() error { return nil }
