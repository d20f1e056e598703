# Helpers about label selectors.
package palisade.selectors

# empty holds for a selector that is there and asks for nothing.
empty(selector) if {
	is_object(selector)
	count(object.get(selector, "matchLabels", {})) == 0
	count(object.get(selector, "matchExpressions", [])) == 0
}
