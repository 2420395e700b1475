"""From parsed events to stored ones: defaults, rules, one commit, counts. Knows neither HTTP nor SQL."""
