package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxPassword bounds what is read from standard input; the API's own limit is lower.
const maxPassword = 4096

// password reads one from the first line of stdin, or asks for it twice at a terminal.
func (a *app) password(fromStdin bool) (string, error) {
	if fromStdin {
		pw, err := readLine(a.in)
		if err != nil {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		return pw, nil
	}
	f, ok := a.in.(*os.File)
	if !ok || !isTerminal(f) {
		return "", &usageError{"no password given: pipe it in with --password-stdin"}
	}
	first, err := a.ask(f, "Password: ")
	if err != nil {
		return "", err
	}
	second, err := a.ask(f, "Once more: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", &usageError{"the two passwords differ: try again"}
	}
	return first, nil
}

func readLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxPassword)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// ask prompts and reads a line without echo.
func (a *app) ask(f *os.File, prompt string) (line string, err error) {
	old, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return "", fmt.Errorf("asking for the password: %w", err)
	}
	silent := *old
	silent.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, &silent); err != nil {
		return "", fmt.Errorf("asking for the password: %w", err)
	}
	defer func() {
		fmt.Fprintln(a.err)
		if rerr := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, old); rerr != nil && err == nil {
			err = fmt.Errorf("switching echo on again: %w", rerr)
		}
	}()
	fmt.Fprint(a.err, prompt)
	// Byte by byte: a buffered reader would swallow the second answer.
	var b []byte
	for one := make([]byte, 1); ; b = append(b, one[0]) {
		n, err := f.Read(one)
		if n == 0 && err == nil {
			continue
		}
		if err != nil && err != io.EOF {
			return "", fmt.Errorf("asking for the password: %w", err)
		}
		if err == io.EOF || one[0] == '\n' || len(b) == maxPassword {
			return strings.TrimRight(string(b), "\r"), nil
		}
	}
}
