extension Jinja {
    /// The filters that templates may name. Those of jinja2 that are about HTML, randomness or formatting of numbers for
    /// people are left out; `tojson` is Hugging Face's.
    enum Filter: String, Sendable {
        case abs, capitalize, dictsort, escape, first, float, format, indent, int, items, join, last, length, list
        case lower, map, max, min, reject, rejectattr, replace, reverse, round, safe, select, selectattr, sort
        case string, sum, title, tojson, trim, unique, upper
        case fallback = "default"

        init?(name: String) {
            switch name {
            case "d": self = .fallback
            case "e": self = .escape
            case "count": self = .length
            default: self.init(rawValue: name)
            }
        }
    }

    enum Test: String, Sendable {
        case defined, undefined, none, string, mapping, iterable, number, integer, float, boolean, sequence, callable
        case even, odd, divisibleby, lower, upper, sameas, `in`, eq, ne, lt, le, gt, ge
        case isTrue = "true"
        case isFalse = "false"

        init?(name: String) {
            switch name {
            case "==", "equalto": self = .eq
            case "!=": self = .ne
            case "<", "lessthan": self = .lt
            case "<=": self = .le
            case ">", "greaterthan": self = .gt
            case ">=": self = .ge
            default: self.init(rawValue: name)
            }
        }
    }
}
