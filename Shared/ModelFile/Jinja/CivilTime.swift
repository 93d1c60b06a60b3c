import Foundation

extension Jinja {
    /// Date and time of day, for `strftime_now`.
    struct CivilTime: Sendable {
        let year, month, day, hour, minute, second: Int
        /// From Sunday, 0.
        let weekday: Int
        /// From 1.
        let dayOfYear: Int

        /// - Parameter time: Seconds since 1970, UTC.
        init(unixTime time: Int) {
            let days = Int((Double(time) / 86_400).rounded(.down))
            let rest = time - days * 86_400
            (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60)
            weekday = ((days % 7) + 11) % 7
            // Days since 1 March of the year 0, in eras of 400 years: leap days are then at the end of each year.
            let shifted = days + 719_468
            let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
            let dayOfEra = shifted - era * 146_097
            let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
            let dayFromMarch = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
            let monthFromMarch = (5 * dayFromMarch + 2) / 153
            day = dayFromMarch - (153 * monthFromMarch + 2) / 5 + 1
            month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
            year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
            let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
            dayOfYear =
                [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month - 1] + day
                + (isLeap && month > 2 ? 1 : 0)
        }

        static var now: CivilTime { CivilTime(unixTime: Int(Date().timeIntervalSince1970)) }

        /// By a format of `strftime`, in the C locale; `%-d` leaves leading zeros out.
        func formatted(_ format: String) throws(Failure) -> String {
            var result = ""
            var scalars = Substring(format).unicodeScalars
            while let scalar = scalars.popFirst() {
                guard scalar == "%" else {
                    result.unicodeScalars.append(scalar)
                    continue
                }
                var width = 2
                if scalars.first == "-" {
                    scalars.removeFirst()
                    width = 1
                }
                guard let conversion = scalars.popFirst() else { throw Failure("strftime_now: '%' at the end") }
                result += try self.conversion(conversion, width)
            }
            return result
        }

        private func conversion(_ conversion: Unicode.Scalar, _ width: Int) throws(Failure) -> String {
            func padded(_ number: Int, _ width: Int, _ fill: Character = "0") -> String {
                let digits = String(number)
                return String(repeating: fill, count: max(width - digits.count, 0)) + digits
            }
            return switch conversion {
            case "Y": padded(year, width == 1 ? 1 : 4)
            case "y": padded(year % 100, width)
            case "m": padded(month, width)
            case "d": padded(day, width)
            case "e": padded(day, width, " ")
            case "j": padded(dayOfYear, width == 1 ? 1 : 3)
            case "H": padded(hour, width)
            case "I": padded((hour + 11) % 12 + 1, width)
            case "M": padded(minute, width)
            case "S": padded(second, width)
            case "p": hour < 12 ? "AM" : "PM"
            case "B": Self.months[month - 1]
            case "b", "h": String(Self.months[month - 1].prefix(3))
            case "A": Self.weekdays[weekday]
            case "a": String(Self.weekdays[weekday].prefix(3))
            case "w": String(weekday)
            case "F": "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))"
            case "T": "\(padded(hour, 2)):\(padded(minute, 2)):\(padded(second, 2))"
            case "R": "\(padded(hour, 2)):\(padded(minute, 2))"
            case "Z": "UTC"
            case "z": "+0000"
            case "%": "%"
            case "n": "\n"
            case "t": "\t"
            default: throw Failure("strftime_now: '%\(conversion)' is not supported")
            }
        }

        private static let months = [
            "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
            "November", "December",
        ]
        private static let weekdays = [
            "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
        ]
    }
}
