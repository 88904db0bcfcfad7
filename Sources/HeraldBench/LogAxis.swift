#if canImport(Darwin)
import Darwin
#elseif canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A logarithmic axis of whole powers of ten around some values.
struct LogAxis: Sendable, Equatable {
    /// The exponents of both ends.
    let exponents: ClosedRange<Int>

    /// The axis that has room for all values above zero; from 1 to 10 if there are none.
    init(_ values: some Sequence<Double>) {
        let logarithms = values.filter { $0 > 0 && $0.isFinite }.map { log10($0) }
        guard let lowest = logarithms.min(), let highest = logarithms.max() else {
            exponents = 0...1
            return
        }
        let first = Int(lowest.rounded(.down))
        exponents = first...max(first + 1, Int(highest.rounded(.up)))
    }

    /// How far along the axis a value stands, 0 to 1; nil for one that a logarithm does not have.
    func share(of value: Double) -> Double? {
        guard value > 0, value.isFinite else { return nil }
        let share = (log10(value) - Double(exponents.lowerBound)) / Double(exponents.count - 1)
        return min(max(share, 0), 1)
    }

    /// The powers of ten, as people write them.
    var labels: [(share: Double, text: String)] {
        exponents.map { exponent in
            (Double(exponent - exponents.lowerBound) / Double(exponents.count - 1), Self.text(exponent))
        }
    }

    /// A power of ten: `0.01`, `1000`, `10 k`, `1 M`.
    private static func text(_ exponent: Int) -> String {
        guard exponent >= 0 else { return "0." + String(repeating: "0", count: -exponent - 1) + "1" }
        let units = [(9, " G"), (6, " M"), (3, " k")]
        let (power, unit) = units.first { exponent >= $0.0 && exponent > 3 } ?? (0, "")
        return "1" + String(repeating: "0", count: exponent - power) + unit
    }
}
