package main

import (
	"fmt"
	"os"
	"sort"
	"time"
)

type cart struct {
	prices []int
	names  map[string]int
}

func (c *cart) total(bug string, id string) int {
	switch bug {
	case "index":
		return c.prices[len(id)]
	case "map":
		c.names[id]++
	case "error":
		panic(fmt.Errorf("order %s cannot be priced", id))
	}
	return 0
}

func main() {
	bug, id := os.Args[1], os.Args[2]
	broken := &cart{prices: []int{1, 2}}
	switch bug {
	case "goroutine":
		go func() { broken.total("index", id) }()
		time.Sleep(time.Minute)
	case "library":
		sort.Slice(broken.prices, func(_, _ int) bool { return broken.total("index", id) > 0 })
	}
	broken.total(bug, id)
}
