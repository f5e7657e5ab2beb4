"""What a page has to be for every reader, whatever it shows. Each check returns what it finds wrong, as a list."""

# Text on what is behind it (WCAG 2.1, 1.4.3).
CONTRAST = 4.5

FAINT = '''(() => {
    const channels = colour => colour.match(/[\\d.]+/g).map(Number)
    const light = colour => {
        const [r, g, b] = channels(colour).map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b
    }
    const ground = element => {
        for (let at = element; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor
            if (channels(colour)[3] !== 0) return colour
        }
    }
    const found = []
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement
        if (!texts.currentNode.data.trim() || !element.checkVisibility() || ['SCRIPT', 'TITLE'].includes(element.tagName.toUpperCase())) continue
        const style = getComputedStyle(element)
        const pair = [light(element instanceof SVGElement ? style.fill : style.color), light(ground(element))].sort((a, b) => b - a)
        const contrast = (pair[0] + 0.05) / (pair[1] + 0.05)
        if (contrast < %s) found.push(`${texts.currentNode.data.trim()}: contrast ${contrast.toFixed(2)}`)
    }
    return found
})()''' % CONTRAST

WIDE = '''[...document.querySelectorAll('body *')]
    .filter(element => element.checkVisibility() && element.getBoundingClientRect().right > %d + 1)
    .map(element => `${element.tagName} ${element.id}: too wide`)'''


def faint(view):
    """Texts that can't be read well."""
    return view.value(FAINT)


def wide(view):
    """Elements that reach beyond the window's right edge."""
    # Not innerWidth: a phone widens that for what is too wide.
    return view.value(WIDE % view.width)


def nameless(view):
    """Buttons, links and pictures of which a screen reader has nothing to say."""
    nodes = view.call('Accessibility.getFullAXTree')['nodes']
    roles = [(node.get('role', {}).get('value'), node.get('name', {}).get('value')) for node in nodes if not node['ignored']]
    return [f'{role} without a name' for role, name in roles if role in ('button', 'link', 'image', 'img') and not name]


def all_of(view):
    return [*view.errors, *faint(view), *wide(view), *nameless(view)]
