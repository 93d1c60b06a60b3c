import Foundation
import Synchronization

/// The Date header's value (RFC 9110, section 5.6.7), made once a second.
final class DateHeader: Sendable {
    private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    private let last = Mutex<(second: Int, text: String)>((-1, ""))

    var now: String {
        var second = time(nil)
        return last.withLock { last in
            if last.second != second {
                var parts = tm()
                gmtime_r(&second, &parts)
                last = (second, DateHeader.text(parts))
            }
            return last.text
        }
    }

    static func text(_ parts: tm) -> String {
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let day = days[Int(parts.tm_wday) % days.count]
        let month = months[Int(parts.tm_mon) % months.count]
        return "\(day), \(two(parts.tm_mday)) \(month) \(parts.tm_year + 1900) "
            + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) GMT"
    }
}
