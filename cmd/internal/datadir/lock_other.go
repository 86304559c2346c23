//go:build !unix

package datadir

import (
	"errors"
	"os"
)

func tryLock(*os.File) (bool, error) {
	return false, errors.New("this system has no exclusive file locks")
}

func currentUser() string { return "this user" }
