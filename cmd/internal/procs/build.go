package procs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// Build compiles the commands of the packages into the directory, each named for its package's last element. It runs
// in the working directory, so packages may be given as relative paths.
func Build(ctx context.Context, dir string, packages ...string) error {
	args := append([]string{"build", "-o", dir + string(os.PathSeparator)}, packages...)
	out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build %v: %w\n%s", packages, err, out)
	}
	return nil
}
